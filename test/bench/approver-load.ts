import { generateKeyPairSync } from 'node:crypto';
import { dns, ip, nodeSubject, requestPem } from '../approver/requests.ts';
import type { ApiClient } from '../support/api-client.ts';
import type { LiveCsr } from '../support/approver-plane.ts';
import { csrPath } from '../support/real-csr.ts';
import { inParallel } from './in-parallel.ts';

/** A CSR that can be created more than once with the same content. */
export interface PreparedCsr {
  readonly name: string;
  readonly node: string;
  readonly body: object;
}

/** Why a CSR is denied. */
export type Fault = 'name' | 'lifetime' | 'usage';

const connections = 16;
/** The label whose value is the prefix of the name. */
const label = 'nodecertd-bench';

/** Creates Nodes and CSRs by the thousand. */
export class ApproverLoad {
  readonly #client: ApiClient;

  /** @param client acts as other users, so that each node creates its own CSR */
  constructor(client: ApiClient) {
    this.#client = client;
  }

  async createNodes(count: number): Promise<void> {
    await inParallel(numbers(count), connections, async (index) => {
      const addresses = [
        { type: 'Hostname', address: nodeName(index) },
        { type: 'InternalIP', address: nodeAddress(index) },
      ];
      await this.#client.must({
        method: 'POST',
        path: '/api/v1/nodes',
        body: { metadata: { name: nodeName(index) }, status: { addresses } },
      });
    });
  }

  async create(csrs: readonly PreparedCsr[]): Promise<void> {
    await inParallel(csrs, connections, async (csr) => this.createOne(csr));
  }

  async createOne({ node, body }: PreparedCsr): Promise<void> {
    const groups = ['system:nodes', 'system:authenticated'];
    const impersonate = { user: `system:node:${node}`, groups };
    await this.#client.must({ method: 'POST', path: csrPath(), body, impersonate });
  }

  /** CSRs that another program has denied. */
  async createDecided(count: number, nodes: number): Promise<void> {
    const csrs = prepareCsrs({ prefix: 'decided', count, nodes });
    await inParallel(csrs, connections, async (csr) => {
      await this.createOne(csr);
      const path = csrPath(csr.name);
      const found = (await this.#client.must({ method: 'GET', path })) as LiveCsr;
      const condition = { type: 'Denied', status: 'True', reason: 'Bench', message: 'decided' };
      const body = { ...found, status: { conditions: [condition] } };
      await this.#client.must({ method: 'PUT', path: `${path}/approval`, body });
    });
  }

  /** Deletes all CSRs but those of `createDecided`. */
  async deleteOthers(): Promise<void> {
    const selector = `labelSelector=${label}!%3Ddecided`;
    await this.#client.must({ method: 'DELETE', path: `${csrPath()}?${selector}` });
  }
}

/** CSRs of the nodes in turn, each with a key of its own. */
export function prepareCsrs({
  prefix,
  count,
  nodes,
  faultOf = () => undefined,
}: {
  readonly prefix: string;
  readonly count: number;
  readonly nodes: number;
  readonly faultOf?: (index: number) => Fault | undefined;
}): PreparedCsr[] {
  return numbers(count).map((index) => {
    const node = index % nodes;
    const fault = faultOf(index);
    const usages = ['digital signature', 'key encipherment', 'server auth'];
    return {
      name: `${prefix}-${index}`,
      node: nodeName(node),
      body: {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name: `${prefix}-${index}`, labels: { [label]: prefix } },
        spec: {
          request: encodedRequest(node, fault === 'name' ? 'kubernetes' : nodeName(node)),
          signerName: 'kubernetes.io/kubelet-serving',
          usages: fault === 'usage' ? [...usages, 'client auth'] : usages,
          ...(fault === 'lifetime' && { expirationSeconds: 2 ** 31 - 1 }),
        },
      },
    };
  });
}

function encodedRequest(node: number, dnsName: string): string {
  const pem = requestPem({
    keys: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    subject: nodeSubject(`system:node:${nodeName(node)}`),
    altNames: [dns(dnsName), ip(nodeAddress(node))],
  });
  return Buffer.from(pem).toString('base64');
}

function nodeName(index: number): string {
  return `worker-${index}`;
}

function nodeAddress(index: number): string {
  return `10.100.${Math.floor(index / 250)}.${(index % 250) + 1}`;
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
