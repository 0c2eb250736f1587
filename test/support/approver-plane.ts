import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { Approver } from '../../src/app/approver.ts';
import type { ApproverPolicy } from '../../src/core/approver-policy.ts';
import { defaultApproverPolicy } from '../../src/core/approver-policy.ts';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import type { Clock } from '../../src/sys/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { dns, ip, nodeSubject, requestPem } from '../approver/requests.ts';
import { runInProcess } from '../cli/in-process.ts';
import type { ApiClient } from './api-client.ts';
import type { TimedRequest } from './audit-log.ts';
import { kubeconfig } from './real-components.ts';
import type { RealControlPlane, RealControlPlaneOptions } from './real-control-plane.ts';
import { startRealControlPlane } from './real-control-plane.ts';
import { csrPath, newCsr } from './real-csr.ts';
import { until } from './until.ts';

/** The namespace of the approver in the tests, so that the audit log contains its requests. */
const namespace = 'nodecertd';
/** The approver as the API server sees it. */
export const approverUser = `system:serviceaccount:${namespace}:nodecertd-approver`;

const bindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';

export interface LiveCsr {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
    readonly certificate?: string;
  };
}

export interface Explained {
  readonly exitCode: number;
  /** `hold NodeNotFound`. */
  readonly decision: string;
  readonly message: string;
}

export interface CsrRequest {
  readonly node: string;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  readonly name?: string;
  readonly signerName?: string;
}

/** A real control plane with the shipped permissions of the approver, and helpers for its objects. */
export class ApproverPlane implements AsyncDisposable {
  readonly plane: RealControlPlane;
  /** For the files of a test; removed with the plane. */
  readonly folder: string;
  readonly kubeconfig: string;
  /** Of the Lease and of the service account. */
  readonly namespace = namespace;
  readonly #clients = new Map<string, ApiClient>();
  #csrs = 0;

  private constructor(plane: RealControlPlane, folder: string) {
    this.plane = plane;
    this.folder = folder;
    this.kubeconfig = join(folder, 'approver.conf');
  }

  static async start(
    options: Omit<RealControlPlaneOptions, 'signingSeconds'> = {},
  ): Promise<ApproverPlane> {
    const plane = await startRealControlPlane({ ...options, signingSeconds: 3_600 });
    const folder = await mkdtemp(join(tmpdir(), 'nodecertd-approver-'));
    const approver = new ApproverPlane(plane, folder);
    await approver.#allow();
    return approver;
  }

  async #allow(): Promise<void> {
    await this.plane.kubectl('create', 'namespace', namespace);
    await applyShipped(this.plane, { folder: this.folder, file: 'rbac.yaml' });
    await writeFile(this.kubeconfig, await approverKubeconfig(this.plane));
  }

  async setNode(name: string, addresses: readonly NodeAddress[]): Promise<void> {
    await this.plane.setNodeAddresses(name, addresses);
  }

  /** Creates a CSR as the node, and returns its name. */
  async createCsr(request: CsrRequest): Promise<string> {
    this.#csrs += 1;
    const { node, dns: names = [], ips = [], name = `csr-${this.#csrs}` } = request;
    const { signerName = 'kubernetes.io/kubelet-serving' } = request;
    const pem = requestPem({
      keys: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      subject: nodeSubject(`system:node:${node}`),
      altNames: [...names.map((one) => dns(one)), ...ips.map((one) => ip(one))],
    });
    await this.nodeClient(node).must({
      method: 'POST',
      path: csrPath(),
      body: newCsr({
        name,
        request: pem,
        signerName,
        usages: ['digital signature', 'server auth'],
      }),
    });
    return name;
  }

  nodeClient(node: string): ApiClient {
    const known = this.#clients.get(node);
    if (known !== undefined) return known;
    const groups = ['system:nodes', 'system:authenticated'];
    const client = this.plane.clientAs(`system:node:${node}`, groups);
    this.#clients.set(node, client);
    return client;
  }

  async csr(name: string): Promise<LiveCsr> {
    return (await this.plane.admin.must({ method: 'GET', path: csrPath(name) })) as LiveCsr;
  }

  async conditions(name: string): Promise<string[]> {
    return ((await this.csr(name)).status.conditions ?? []).map(({ type }) => type);
  }

  /** What `nodecertd approver explain` says, with the permissions of the approver. */
  async explain(csr: string, policy: object = {}): Promise<Explained> {
    const file = join(this.folder, 'policy.yaml');
    const head = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'ApproverPolicy' };
    await writeFile(file, stringify({ ...head, ...policy }));
    const flags = ['-o', 'json', '--policy', file, '--kubeconfig', this.kubeconfig];
    const ended = await runInProcess(0, 'approver', 'explain', csr, ...flags);
    if (ended.stdout === '') throw new Error(ended.stderr);
    const { outcome, reason, message } = JSON.parse(ended.stdout) as Record<string, string>;
    return { exitCode: ended.code, decision: `${outcome} ${reason}`, message: message ?? '' };
  }

  async patchNode(name: string, body: object): Promise<void> {
    await this.plane.admin.must({ method: 'PATCH', path: `/api/v1/nodes/${name}`, body });
  }

  /** The reasons of the Events about the CSR or Node of this name. */
  async events(name: string): Promise<string[]> {
    const { items } = (await this.plane.admin.must({
      method: 'GET',
      path: `/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3D${name}`,
    })) as { readonly items: readonly { readonly reason: string }[] };
    return items.map(({ reason }) => reason);
  }

  /** Removes a ClusterRoleBinding, and returns it. */
  async takeBinding(name: string): Promise<object> {
    const path = `${bindings}/${name}`;
    const binding = (await this.plane.admin.must({ method: 'GET', path })) as {
      readonly roleRef: object;
      readonly subjects: object;
    };
    await this.plane.admin.must({ method: 'DELETE', path });
    const { roleRef, subjects } = binding;
    return { metadata: { name }, roleRef, subjects };
  }

  async giveBinding(body: object): Promise<void> {
    await this.plane.admin.must({ method: 'POST', path: bindings, body });
  }

  /** The requests of approvers that write to the CSR. */
  async writesTo(csr: string): Promise<readonly TimedRequest[]> {
    return (await this.requests()).filter(({ name, verb }) => name === csr && verb === 'update');
  }

  /** Waits until the CSR has a condition, and returns `Approved ServingPolicyPassed`. */
  async decided(name: string): Promise<string> {
    return this.until(`a decision about ${name}`, async () => {
      const [condition] = (await this.csr(name)).status.conditions ?? [];
      return condition && `${condition.type} ${condition.reason}`;
    });
  }

  /** @throws Error with `what` if nothing is found in time */
  async until<T>(
    what: string,
    find: () => T | undefined | false | Promise<T | undefined | false>,
    seconds = 60,
  ): Promise<T> {
    return until(what, find, seconds);
  }

  /** The requests of approvers so far. */
  async requests(): Promise<readonly TimedRequest[]> {
    return (await this.plane.requests()).filter((request) => request.user === approverUser);
  }

  /** Starts an approver in this process. */
  startApprover(options: Partial<ReplicaOptions> = {}): Replica {
    return new Replica({ kubeconfig: this.kubeconfig, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients.values()) await client[Symbol.asyncDispose]();
    await this.plane[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true });
  }
}

/** Applies a file of config/approver/ in the namespace of the tests. */
export async function applyShipped(
  plane: RealControlPlane,
  { folder, file }: { readonly folder: string; readonly file: string },
): Promise<void> {
  const shipped = fileURLToPath(new URL(`../../config/approver/${file}`, import.meta.url));
  const copy = join(folder, file);
  await writeFile(copy, (await readFile(shipped, 'utf8')).replaceAll('kube-system', namespace));
  await plane.kubectl('apply', '-f', copy);
}

/** A kubeconfig with a token of the service account nodecertd-approver, for the plane or a proxy. */
export async function approverKubeconfig(
  plane: RealControlPlane,
  { server, caPem }: { readonly server: string; readonly caPem: string } = plane,
): Promise<string> {
  const { status } = (await plane.admin.must({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/serviceaccounts/nodecertd-approver/token`,
    body: { spec: { expirationSeconds: 3_600 } },
  })) as { readonly status: { readonly token: string } };
  return kubeconfig({ server, caPem, user: { token: status.token } });
}

export interface ReplicaOptions {
  readonly kubeconfig: string;
  readonly identity?: string;
  readonly clock?: Clock;
  readonly policy?: () => Partial<ApproverPolicy> | Promise<Partial<ApproverPolicy>>;
}

let replicas = 0;

/** An approver in this process. */
export class Replica implements AsyncDisposable {
  readonly approver: Approver;
  readonly lines: Record<string, unknown>[] = [];
  readonly #stop = new AbortController();
  readonly #run: Promise<void>;

  constructor({ kubeconfig: path, identity, clock, policy = () => ({}) }: ReplicaOptions) {
    replicas += 1;
    this.approver = new Approver({
      loadAccess: () => loadKubeconfig(path),
      policy: {
        load: async () => ({
          policy: { ...defaultApproverPolicy, ...(await policy()) },
          sources: [],
        }),
        isChanged: async () => false,
      },
      lease: { namespace, name: 'nodecertd-approver' },
      identity: identity ?? `replica-${replicas}`,
      metrics: { host: '127.0.0.1', port: 0, kubeletNames: false },
      logger: {
        log: (event, fields = {}) => {
          this.lines.push({ event, ...fields });
        },
      },
      clock: clock ?? systemClock,
      random: Math.random,
    });
    this.#run = this.approver.run(this.#stop.signal);
    this.#run.catch(() => undefined);
  }

  logged(event: string): readonly Record<string, unknown>[] {
    return this.lines.filter((line) => line['event'] === event);
  }

  /** The reasons for which the CSR was held so far. */
  holds(csr: string): unknown[] {
    return this.logged('csr_held').flatMap((line) => (line['csr'] === csr ? [line['reason']] : []));
  }

  /** A page of the approver. */
  async page(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const [{ address } = {}] = this.logged('metrics_listening');
    const response = await fetch(`http://${String(address)}${path}`);
    return { status: response.status, text: await response.text() };
  }

  /** As with SIGTERM. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#run;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
