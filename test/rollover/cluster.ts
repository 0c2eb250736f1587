import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { minute, second } from '../../src/core/instant.ts';
import { x509 } from '../../src/core/x509.ts';
import type { TimedRequest } from '../support/audit-log.ts';
import type { ObservedCsr } from '../support/control-plane.ts';
import type { KeyPair } from '../support/cluster-pki.ts';
import { skipWithoutKubeletNode } from '../support/kubelet-node.ts';
import { skipWithout } from '../support/programs.ts';
import type { RolloverOptions } from '../support/rollover-plane.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import { until } from '../support/until.ts';
import { apiAddress, nodeAddress } from './network.ts';
import type { NodeOptions } from './node.ts';
import { RolloverNode } from './node.ts';
import type { ProbedClient } from './prober.ts';

/** kube-apiserver and kubelets read most files again every five minutes. */
export const reloadMs = 6 * minute;

/** Nodes drop a CA without an administrator, after the shortest possible time. */
export const dropSoon = { drop: 'auto', dropAfter: '10m' } as const;
export const dropSoonMs = 10 * minute;

/** For scenarios on real kubelets. @throws in CI, where no test may be skipped */
export function skipWithoutRollover(): string | false {
  return skipWithoutKubeletNode() || skipWithout('ip');
}

export interface CsrCounts {
  readonly client: number;
  readonly serving: number;
  /** Those that a bootstrap token has created. */
  readonly byToken: number;
}

export type NodePlan = Pick<NodeOptions, 'authority' | 'lifetimeMs' | 'trust'>;

/** A real control plane whose CA is replaced, and nodes with a real kubelet. */
export class RolloverCluster implements AsyncDisposable {
  readonly rollover: RolloverPlane;
  readonly nodes: readonly RolloverNode[];
  readonly #approving: NodeJS.Timeout;
  /** Whether CSRs for serving certificates are approved. */
  approvesServing = true;

  private constructor(rollover: RolloverPlane, nodes: readonly RolloverNode[]) {
    this.rollover = rollover;
    this.nodes = nodes;
    this.#approving = setInterval(() => {
      if (this.approvesServing) void approveServing(rollover);
    }, 500);
  }

  /** The nodes are worker-1 and so on. */
  static async start(...plans: readonly NodePlan[]): Promise<RolloverCluster> {
    return RolloverCluster.startWith({}, ...plans);
  }

  static async startWith(
    options: Pick<RolloverOptions, 'oldCa'>,
    ...plans: readonly NodePlan[]
  ): Promise<RolloverCluster> {
    const rollover = await RolloverPlane.start({
      ...options,
      address: apiAddress,
      apiServerFlags: [
        '--bind-address=0.0.0.0',
        `--advertise-address=${apiAddress}`,
        '--endpoint-reconciler-type=lease',
        '--kubelet-preferred-address-types=InternalIP',
      ],
    });
    const booting = plans.map(async (plan, index) =>
      RolloverNode.boot({
        ...plan,
        name: `worker-${index + 1}`,
        address: nodeAddress(index),
        plane: rollover.plane,
        ca: rollover.oldCa,
      }),
    );
    try {
      return new RolloverCluster(rollover, await Promise.all(booting));
    } catch (error) {
      // A container that keeps running would keep this process from ending.
      for (const boot of await Promise.allSettled(booting)) {
        if (boot.status === 'fulfilled') await boot.value[Symbol.asyncDispose]();
      }
      await rollover[Symbol.asyncDispose]();
      throw error;
    }
  }

  node(index: number): RolloverNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`the cluster has no node ${index}`);
    return node;
  }

  /** Requests to the API server with the files of a node. */
  nodeClient(node: RolloverNode): ProbedClient {
    return { name: `${node.name} to the API server`, read: async () => node.credentials() };
  }

  /** Requests to the API server as an administrator, which trusts both CAs from the beginning. */
  adminClient(): ProbedClient {
    return {
      name: 'administrator to the API server',
      read: async () => this.rollover.adminRequest('/api/v1/nodes'),
    };
  }

  /** Requests to the port of a kubelet with the files of the API server. */
  kubeletClient({ name, address }: RolloverNode): ProbedClient {
    const { directory } = this.rollover.plane;
    return {
      name: `API server's files to the kubelet of ${name}`,
      read: async () => ({
        url: `https://${address}:10250/healthz`,
        caPem: await readFile(join(directory, 'kubelet-ca.crt'), 'utf8'),
        pair: await matchingPair(join(directory, 'apiserver-kubelet-client')),
      }),
    };
  }

  /** Requests of the API server itself to a kubelet. */
  proxyClient({ name }: RolloverNode): ProbedClient {
    return {
      name: `API server to the kubelet of ${name}`,
      read: async () => this.rollover.adminRequest(`/api/v1/nodes/${name}/proxy/healthz`),
    };
  }

  /** Since when the Node is Ready. A Node that was not Ready in between has a later time. */
  async readySince({ name }: RolloverNode): Promise<string> {
    const path = `/api/v1/nodes/${name}`;
    const { status } = (await this.rollover.plane.admin.must({
      method: 'GET',
      path,
    })) as NodeObject;
    const ready = status.conditions.find(({ type }) => type === 'Ready');
    if (ready?.status !== 'True') throw new Error(`${name} is not Ready`);
    return ready.lastTransitionTime;
  }

  /** Until the kubelets of these nodes have renewed their Lease, which they do every ten seconds. */
  async untilLeases(
    nodes: readonly RolloverNode[],
    { since, seconds }: { readonly since: number; readonly seconds: number },
  ): Promise<void> {
    const areRenewed = async (): Promise<boolean> => {
      await delay(second);
      const times = await this.#renewTimes();
      return nodes.every(({ name }) => (times.get(name) ?? 0) > since);
    };
    await until(`a Lease of ${nodes.map(({ name }) => name).join(' and ')}`, areRenewed, seconds);
  }

  async #renewTimes(): Promise<ReadonlyMap<string, number>> {
    const path = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    const { items } = (await this.rollover.plane.admin.must({ method: 'GET', path })) as LeaseList;
    return new Map(items.map(({ metadata, spec }) => [metadata.name, Date.parse(spec.renewTime)]));
  }

  /** The CSRs of a node since the beginning: it has joined without one. */
  async csrsOf({ name }: RolloverNode): Promise<CsrCounts> {
    const csrs = (await this.rollover.plane.csrs()).filter(({ request }) =>
      new x509.Pkcs10CertificateRequest(request).subject.includes(`CN=system:node:${name}`),
    );
    const count = (isWanted: (csr: ObservedCsr) => boolean): number => csrs.filter(isWanted).length;
    return {
      client: count(({ signerName }) => signerName === kubeletClientSigner),
      serving: count(({ signerName }) => signerName === kubeletServingSigner),
      byToken: count(({ username }) => username.startsWith('system:bootstrap:')),
    };
  }

  /** The requests that create CSRs. */
  async csrRequests(): Promise<readonly TimedRequest[]> {
    return (await this.rollover.plane.requests()).filter(
      ({ verb, resource }) => verb === 'create' && resource === 'certificatesigningrequests',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#approving);
    await Promise.all(this.nodes.map(async (node) => node[Symbol.asyncDispose]()));
    await this.rollover[Symbol.asyncDispose]();
  }
}

interface NodeObject {
  readonly status: {
    readonly conditions: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime: string;
    }[];
  };
}

interface LeaseList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly renewTime: string };
  }[];
}

/** Kubernetes has no approver for serving certificates. */
async function approveServing({ plane }: RolloverPlane): Promise<void> {
  const csrs = await plane.csrs().catch(() => []);
  for (const { name, signerName, conditions } of csrs) {
    if (signerName !== kubeletServingSigner || conditions.length > 0) continue;
    await plane.approve(name).catch(() => undefined);
  }
}

/** Reads again while the files are replaced one after the other. */
async function matchingPair(path: string): Promise<KeyPair> {
  for (;;) {
    const keyPem = await readFile(`${path}.key`, 'utf8');
    const certificatePem = await readFile(`${path}.crt`, 'utf8');
    const key = createPrivateKey(keyPem);
    if (new X509Certificate(certificatePem).checkPrivateKey(key)) return { certificatePem, keyPem };
  }
}
