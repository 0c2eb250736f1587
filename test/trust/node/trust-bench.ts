import { lutimes, mkdir, readFile, rename, symlink, utimes, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { json } from 'node:stream/consumers';
import type { Server as SecureServer } from 'node:tls';
import { stringify } from 'yaml';
import type { TrustConfig } from '../../../src/core/config.ts';
import type { Instant } from '../../../src/core/instant.ts';
import { day, formatInstant, hour, minute, second } from '../../../src/core/instant.ts';
import type { TrustReport } from '../../../src/core/trust-report.ts';
import type { ClockSync } from '../../../src/sys/clock-sync.ts';
import type { TrustRequest } from '../../../src/trust/node/session.ts';
import type { SyncOptions } from '../../../src/trust/node/sync.ts';
import { syncTrust } from '../../../src/trust/node/sync.ts';
import { agentConfig } from '../../keeper/fixtures.ts';
import {
  ApiServer,
  base64,
  kubeconfigText,
  sendJson,
  sendStatus,
} from '../../kube/support/api-server.ts';
import type { Authority } from '../../kube/support/certificates.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { pod } from '../../pki/components/manifests.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeProc } from '../../sys/fake-proc.ts';
import type { NodeFiles } from './node-files.ts';
import { nodeFilesAt, writeNodeFiles } from './node-files.ts';
import { trustDefaults } from '../../support/trust-defaults.ts';

/** What the API server of a bench says, which a test changes. */
export interface BenchCluster {
  /** The ClusterTrustBundle; absent for an API server without them. */
  bundle: string | undefined;
  /** The CAs in cluster-info. */
  clusterInfo: string | undefined;
  annotations: Record<string, string>;
  kubeletVersion: string;
  /** CSRs as the API server lists them. */
  csrs: readonly unknown[];
  /** When the components of the control plane on this node started. */
  starts: Readonly<Record<string, Instant>>;
  /** The HTTP status of a change of the Node. */
  patchStatus: number;
}

/** The waits of the command for the kubelet end at once. Timeouts of other programs never do. */
class SteppingClock extends FakeClock {
  isStepping = false;

  override async sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.isStepping || ms > second) return super.sleep(ms, signal);
    await this.advance(ms);
  }
}

/** A node with an API server on loopback, and a kubelet that only its files show. */
export class TrustBench implements AsyncDisposable {
  readonly old: Authority;
  readonly next: Authority;
  readonly server: ApiServer;
  readonly files: NodeFiles;
  readonly clock = new SteppingClock(Math.floor(Date.now() / 1_000) * 1_000);
  readonly cluster: BenchCluster;
  sync: ClockSync = 'synchronized';

  private constructor(parts: Pick<TrustBench, 'old' | 'next' | 'server' | 'files'>) {
    this.old = parts.old;
    this.next = parts.next;
    this.server = parts.server;
    this.files = parts.files;
    this.cluster = {
      bundle: parts.old.pem,
      clusterInfo: undefined,
      annotations: {},
      kubeletVersion: 'v1.37.2',
      csrs: [],
      starts: {},
      patchStatus: 200,
    };
    this.server.handler = (request, response) => {
      void this.#answer(request, response);
    };
  }

  /** The kubeconfig names a CA file, as after an adoption. */
  static async start(
    context: TestContext,
    { oldNotAfter }: { readonly oldNotAfter?: Instant } = {},
  ): Promise<TrustBench> {
    const notAfter = Date.now() + 60 * day;
    const old = await makeAuthority('kubernetes', { notAfter: oldNotAfter ?? notAfter });
    const next = await makeAuthority('kubernetes', { notAfter });
    const server = await ApiServer.start(() => undefined, { authority: old });
    const root = await temporaryDirectory(context);
    await writeNodeFiles(root, old.pem);
    const bench = new TrustBench({ old, next, server, files: nodeFilesAt(root) });
    await bench.writeKubeconfig({ file: bench.files.caFile });
    await bench.startKubelet(7);
    return bench;
  }

  async writeKubeconfig(
    authority: { readonly pem: string } | { readonly file: string },
  ): Promise<void> {
    const { kubeconfig, caFile } = this.files;
    const key = 'pem' in authority ? 'certificate-authority-data' : 'certificate-authority';
    const value = 'pem' in authority ? base64(authority.pem) : authority.file;
    const cluster = { server: this.server.url, [key]: value };
    await writeFile(kubeconfig, kubeconfigText({ cluster }), { mode: 0o600 });
    // Before the start of the kubelet.
    for (const path of [kubeconfig, caFile]) await utimes(path, 1, 1);
  }

  /** Makes this node a control-plane node, with kubeadm's files. */
  async writeManifests(): Promise<void> {
    const { manifests, caFile, certificateDirectory: pki } = this.files;
    const mounts = [{ name: 'k8s-certs', path: pki, type: 'DirectoryOrCreate' } as const];
    const flags = {
      'kube-apiserver': '--client-ca-file',
      'kube-controller-manager': '--cluster-signing-cert-file',
    };
    for (const [name, flag] of Object.entries(flags)) {
      const manifest = pod({ name, command: [name, `${flag}=${caFile}`], mounts });
      await writeFile(join(manifests, `${name}.yaml`), stringify(manifest));
    }
  }

  /** A kubelet with this pid, which started long before the files changed. */
  async startKubelet(pid: number): Promise<void> {
    const proc = await this.#newProc();
    const self = { cmdline: 'node\0', mounts: 'mnt:[1]', parent: 1, cgroup: '' };
    const cmdline = `kubelet\0--kubeconfig=${this.files.kubeconfig}\0--config=${this.files.configFile}\0`;
    await fakeProc(proc, { self, [pid]: { ...self, cmdline } });
  }

  /**
   * A kubelet that its service started before the files changed. systemctl starts another process,
   * unless the files contain `refused`: then the service fails.
   */
  async startKubeletService(refused = 'nothing'): Promise<void> {
    const { root, machine, kubeconfig, caFile } = this.files;
    await this.#newProc();
    const restarts = join(root, 'restarts');
    await writeFile(restarts, '');
    const script = `#!/bin/sh
if [ "$1" = restart ]; then
  sed 's/\\.//; s/ .*/0000/' /proc/uptime > ${restarts}.time
  grep -qsF '${refused}' ${kubeconfig} ${caFile} && echo failed >> ${restarts} || echo active >> ${restarts}
  exit 0
fi
n=$(grep -c . ${restarts})
state=$(tail -n 1 ${restarts})
[ "$state" = failed ] && pid=0 || pid=$((7 + n))
printf 'LoadState=loaded\\nActiveState=%s\\nSubState=x\\nMainPID=%s\\n' "\${state:-active}" $pid
started=$([ $n -gt 0 ] && cat ${restarts}.time || echo 0)
printf 'InvocationID=start-%s\\nExecMainStartTimestampMonotonic=%s\\n' $n $started
`;
    await writeFile(machine.systemctl, script, { mode: 0o755 });
    this.clock.isStepping = true;
  }

  async restarts(): Promise<number> {
    const text = await readFile(join(this.files.root, 'restarts'), 'utf8');
    return text.split('\n').length - 1;
  }

  async #newProc(): Promise<string> {
    const { proc } = this.files.machine;
    await rename(proc, `${proc}-${this.clock.now()}-${Math.random()}`);
    await mkdir(proc);
    return proc;
  }

  request(trust: Partial<TrustConfig> = {}): TrustRequest {
    const { root, machine } = this.files;
    const config = { ...agentConfig(root), ...this.files.config(trust) };
    return {
      config: { ...config, trust: { ...trustDefaults, ...trust } },
      version: '1.2.3',
      clock: this.clock,
      signal: AbortSignal.timeout(120_000),
      clockSync: async () => this.sync,
      machine,
    };
  }

  /** Runs the command as the agent does. */
  async run(
    trust: Partial<TrustConfig> = {},
    options: Partial<SyncOptions> = {},
  ): Promise<TrustReport> {
    return syncTrust(this.request(trust), {
      restartNow: false,
      byHand: false,
      refresh: false,
      ...options,
    });
  }

  /** The number of requests of six runs, by the last part of their path. */
  async requestsOfAnHour(): Promise<Readonly<Record<string, number>>> {
    const before = this.server.requests.length;
    for (let count = 0; count < 6; count += 1) {
      this.clock.jump(10 * minute);
      await this.run();
    }
    const counts: Record<string, number> = {};
    for (const { url } of this.server.requests.slice(before)) {
      const last = new URL(url, 'https://host').pathname.split('/').at(-1) ?? '';
      counts[last] = (counts[last] ?? 0) + 1;
    }
    return counts;
  }

  /** The content of the CA file. */
  async held(): Promise<string> {
    return readFile(this.files.caFile, 'utf8');
  }

  /** Stores a certificate of the node, as the agent does, an hour before the start of the kubelet. */
  async storeClientPair(issuer: Authority, notBefore?: number): Promise<void> {
    const { certificateDirectory } = this.files;
    const pair = await issuer.issue({
      commonName: 'system:node:worker-1',
      usages: ['client auth'],
      ...(notBefore !== undefined && { notBefore }),
    });
    const name = `kubelet-client-${this.clock.now()}-${Math.random()}.pem`;
    await writeFile(join(certificateDirectory, name), pair.cert + pair.key, { mode: 0o600 });
    const temporary = join(certificateDirectory, 'new-link');
    await symlink(name, temporary);
    const storedAt = (this.clock.now() - hour) / second;
    await lutimes(temporary, storedAt, storedAt);
    await rename(temporary, join(certificateDirectory, 'kubelet-client-current.pem'));
  }

  /** The API server serves a certificate issued by this CA from now on, and closes its connections. */
  async serve(issuer: Authority): Promise<void> {
    const { cert, key } = await issuer.issue({
      commonName: 'api',
      usages: ['server auth'],
      ips: ['127.0.0.1'],
    });
    (this.server.server as SecureServer).setSecureContext({ cert, key });
    this.server.cutConnections();
  }

  /** Another node has a certificate issued by this CA, later than that of this node. */
  async signWith(issuer: Authority): Promise<void> {
    const { cert } = await issuer.issue({
      commonName: 'system:node:worker-2',
      usages: ['client auth'],
      notBefore: Date.now(),
    });
    this.cluster.csrs = [{ status: { certificate: base64(cert) } }];
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'https://host');
    const { bundle, clusterInfo } = this.cluster;
    if (pathname.endsWith('/clustertrustbundles') && bundle !== undefined) {
      const spec = { signerName: 'kubernetes.io/kube-apiserver-serving', trustBundle: bundle };
      sendJson(response, { metadata: {}, items: [{ metadata: { name: 'b' }, spec }] });
    } else if (pathname.endsWith('/configmaps/cluster-info') && clusterInfo !== undefined) {
      const kubeconfig = kubeconfigText({
        cluster: { 'certificate-authority-data': base64(clusterInfo) },
      });
      const metadata = { name: 'cluster-info', namespace: 'kube-public' };
      sendJson(response, { kind: 'ConfigMap', apiVersion: 'v1', metadata, data: { kubeconfig } });
    } else if (pathname.endsWith('/certificatesigningrequests')) {
      sendJson(response, { metadata: {}, items: this.cluster.csrs });
    } else if (pathname.endsWith('/kube-system/pods')) {
      sendJson(response, { metadata: {}, items: Object.entries(this.cluster.starts).map(podOf) });
    } else if (pathname === '/api/v1/nodes/worker-1') {
      await this.#answerNode(request, response);
    } else {
      sendStatus(response, 404, { reason: 'NotFound' });
    }
  }

  async #answerNode(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { annotations, kubeletVersion, patchStatus } = this.cluster;
    if (request.method === 'PATCH') {
      if (patchStatus !== 200) return sendStatus(response, patchStatus, { reason: 'Forbidden' });
      const patch = (await json(request)) as {
        readonly metadata: { readonly annotations: Record<string, string> };
      };
      Object.assign(annotations, patch.metadata.annotations);
    }
    sendJson(response, { metadata: { annotations }, status: { nodeInfo: { kubeletVersion } } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

/** The static pod of a component, as the kubelet mirrors it. */
function podOf([component, startedAt]: readonly [string, Instant]): object {
  const running = { startedAt: formatInstant(startedAt) };
  return {
    metadata: { name: `${component}-worker-1`, labels: { component } },
    status: { containerStatuses: [{ name: component, state: { running } }] },
  };
}
