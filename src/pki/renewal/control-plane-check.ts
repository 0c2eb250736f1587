import { join } from 'node:path';
import { hasCode, toFailure } from '../../core/errors.ts';
import { formatHostPort } from '../../core/host-port.ts';
import { formatDuration, second } from '../../core/instant.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import type { LeaseName } from '../../kube/lease-client.ts';
import { LeaseClient } from '../../kube/lease-client.ts';
import { failingChecks } from '../../kube/readiness.ts';
import { KubeClient } from '../../kube/rest-client.ts';
import type { Clock } from '../../sys/clock.ts';
import { altNames } from '../inventory/certificate.ts';
import { readCertificateFile } from '../inventory/certificate-file.ts';
import { leafOf } from '../inventory/scan-record.ts';
import type { ServedEndpoint } from '../inventory/served.ts';
import type { KubernetesDirectories } from '../layout.ts';
import { logCommand } from './component-start.ts';
import type { Advice } from './renewal-advice.ts';
import type { Restarts } from './renewal-restarts.ts';
import type { RenewalResult } from './renewal-run.ts';
import type { ComponentRestart } from './restart.ts';

/** A new leader may have to wait until the Lease of its predecessor expires, which takes 15 seconds. */
const timeout = 30 * second;
const interval = second / 2;

export interface ControlPlaneCheck {
  readonly directories: KubernetesDirectories;
  /** kube-apiserver on this node. */
  readonly apiServer: ServedEndpoint;
  /** The components that the renewal has restarted. */
  readonly restarted: readonly ComponentRestart[];
  readonly version: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Adds the problems of the control plane to the result of a renewal that did not fail. */
export async function withControlPlaneCheck(
  result: RenewalResult,
  {
    endpoints,
    restarts,
    ...check
  }: Omit<ControlPlaneCheck, 'apiServer' | 'restarted'> & {
    readonly endpoints: readonly ServedEndpoint[];
    readonly restarts: Restarts;
  },
): Promise<RenewalResult> {
  const apiServer = endpoints.find(({ name }) => name === 'kube-apiserver');
  if (apiServer === undefined || result.failed !== undefined) return result;
  const restarted = result.renewed.flatMap(({ restarted: done }) =>
    done === undefined ? [] : (restarts.get(done.component) ?? []),
  );
  return { ...result, controlPlane: await checkControlPlane({ ...check, apiServer, restarted }) };
}

/**
 * Checks with admin.conf that kube-apiserver on this node is ready, and that the components that
 * were restarted lead again. Returns problems, also the reason why nothing could be checked.
 */
export async function checkControlPlane(check: ControlPlaneCheck): Promise<Advice[]> {
  const { directories, version, clock, restarted } = check;
  try {
    using access = await loadKubeconfig(join(directories.kubernetes, 'admin.conf'));
    const limits = { connectMs: 3 * second, requestMs: 5 * second };
    const local = localAccess(access, check);
    await using client = await KubeClient.open({ access: local, version, clock, limits });
    const notReady = await readinessProblem(client, check);
    if (notReady !== undefined) return [notReady];
    const problems = restarted.map((restart) => leaseProblem(client, restart, check));
    return (await Promise.all(problems)).filter((problem) => problem !== undefined);
  } catch (error) {
    return [notChecked(error)];
  }
}

/**
 * admin.conf often names a load balancer, which may forward to another node. The certificate of
 * kube-apiserver usually lacks 127.0.0.1, so one of its names is verified instead.
 */
function localAccess(
  { path, credential, cluster, ...access }: ClusterAccess,
  { apiServer }: ControlPlaneCheck,
): ClusterAccess {
  const { certificateAuthority, insecureSkipTlsVerify } = cluster;
  const tlsServerName = nameIn(apiServer.certificateFile);
  return {
    path,
    credential,
    cluster: {
      server: `https://${formatHostPort(apiServer)}`,
      insecureSkipTlsVerify,
      ...(certificateAuthority && { certificateAuthority }),
      ...(tlsServerName !== undefined && { tlsServerName }),
    },
    ...access,
  };
}

function nameIn(certificateFile = ''): string | undefined {
  const file = readCertificateFile(certificateFile);
  const names = file.kind === 'read' ? altNames(leafOf(file)) : [];
  return names.find((name) => /^DNS:[^*]/.test(name))?.slice('DNS:'.length);
}

async function readinessProblem(
  client: KubeClient,
  { apiServer, clock, signal }: ControlPlaneCheck,
): Promise<Advice | undefined> {
  const start = clock.elapsed();
  for (;;) {
    const failing = await failingChecks(client, signal);
    if (failing.length === 0) return undefined;
    if (clock.elapsed() - start >= timeout) {
      return {
        what: `${apiServer.name} has not been ready for ${formatDuration(timeout)}: ${failing.join(', ')}`,
        remedy: "Read its log, and check it again: kubectl get --raw '/readyz?verbose'",
      };
    }
    await clock.sleep(interval, signal);
  }
}

/**
 * Two different times of renewal, both read after the restart, prove that a process renews the
 * Lease. Clocks of different nodes are not compared. Without a Lease, the component has no leader.
 */
async function leaseProblem(
  client: KubeClient,
  { component, lease, ...restart }: ComponentRestart,
  { clock, signal }: ControlPlaneCheck,
): Promise<Advice | undefined> {
  if (lease === undefined) return undefined;
  const leases = new LeaseClient(client, lease);
  const start = clock.elapsed();
  const first = await leases.get(signal);
  for (let last = first; last !== undefined; last = await leases.get(signal)) {
    if (last.holder !== undefined && last.renewTime !== first?.renewTime) return undefined;
    if (clock.elapsed() - start >= timeout) {
      const holder = last.holder === undefined ? 'no process holds it' : `held by ${last.holder}`;
      return {
        what: `the Lease ${nameOf(lease)} was not renewed for ${formatDuration(timeout)} after the restart of ${component} (${holder})`,
        remedy: `Read its log: ${logCommand({ component, ...restart })}`,
      };
    }
    await clock.sleep(interval, signal);
  }
  return undefined;
}

function nameOf({ namespace, name }: LeaseName): string {
  return `${namespace}/${name}`;
}

function notChecked(error: unknown): Advice {
  const { message, remedy } = toFailure(error);
  const what = `the control plane was not checked after the renewal: ${message}`;
  // The remedy of these codes is about the address in admin.conf, which was not used.
  const isDown = hasCode(error, 'API_UNREACHABLE', 'API_TIMEOUT');
  const down = "Start kube-apiserver, and check it: kubectl get --raw '/readyz?verbose'";
  return { what, ...(isDown ? { remedy: down } : remedy !== undefined && { remedy }) };
}
