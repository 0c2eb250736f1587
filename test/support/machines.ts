import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import type { RealControlPlane } from './real-control-plane.ts';

export interface MachineObject {
  readonly name: string;
  /** Empty for a Machine that has no Node yet. */
  readonly node: string;
  readonly providerId: string;
  readonly addresses: readonly NodeAddress[];
}

const group = 'cluster.x-k8s.io';
const text = { type: 'string' };

/** Of the schema of Cluster API, the fields of the source machine. */
const schema = {
  type: 'object',
  properties: {
    spec: { type: 'object', properties: { clusterName: text, providerID: text } },
    status: {
      type: 'object',
      properties: {
        nodeRef: { type: 'object', properties: { name: text } },
        phase: text,
        addresses: {
          type: 'array',
          items: {
            type: 'object',
            required: ['type', 'address'],
            properties: { type: text, address: text },
          },
        },
      },
    },
  },
};

function definition(version: string): object {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `machines.${group}`,
      annotations: { 'api-approved.kubernetes.io': 'unapproved, for a test' },
    },
    spec: {
      group,
      names: { kind: 'Machine', listKind: 'MachineList', plural: 'machines', singular: 'machine' },
      scope: 'Namespaced',
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}

/** The Machines of a control plane, which acts as a cluster with Cluster API. */
export class Machines {
  readonly #plane: RealControlPlane;
  readonly #version: string;

  private constructor(plane: RealControlPlane, version: string) {
    this.#plane = plane;
    this.#version = version;
  }

  /** Creates the CustomResourceDefinition, and waits until the API server serves it. */
  static async define(plane: RealControlPlane, version: string): Promise<Machines> {
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    await plane.admin.must({ method: 'POST', path, body: definition(version) });
    const crd = `crd/machines.${group}`;
    await plane.kubectl('wait', '--for=condition=Established', '--timeout=60s', crd);
    const machines = new Machines(plane, version);
    const signal = AbortSignal.timeout(60_000);
    await plane.admin.eventually({ method: 'GET', path: machines.#path }, signal);
    return machines;
  }

  get #path(): string {
    return `/apis/${group}/${this.#version}/namespaces/default/machines`;
  }

  /** Creates a Machine, or changes it. */
  async set({ name, node, providerId, addresses }: MachineObject): Promise<void> {
    const { admin } = this.#plane;
    const body = {
      apiVersion: `${group}/${this.#version}`,
      kind: 'Machine',
      metadata: { name },
      spec: { clusterName: 'test', providerID: providerId },
    };
    const created = await admin.request({ method: 'POST', path: this.#path, body });
    const path = `${this.#path}/${name}`;
    if (created.status === 409) await admin.must({ method: 'PATCH', path, body });
    const status = { nodeRef: node === '' ? null : { name: node }, addresses };
    await admin.must({ method: 'PATCH', path: `${path}/status`, body: { status } });
  }

  async delete(name: string): Promise<void> {
    await this.#plane.admin.must({ method: 'DELETE', path: `${this.#path}/${name}` });
  }
}
