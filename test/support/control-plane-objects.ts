import type { RealControlPlane } from './real-control-plane.ts';

const pods = '/api/v1/namespaces/kube-system/pods';
const nodes = '/api/v1/nodes';

/** The Nodes and static pods of a control plane that kubeadm made, in a cluster without kubelets. */
export class ControlPlaneObjects {
  readonly #plane: RealControlPlane;

  constructor(plane: RealControlPlane) {
    this.#plane = plane;
  }

  /** A Node, and the mirror pod of its kube-controller-manager. Both are Ready. */
  async createNode(name: string, flags: ReadonlyMap<string, string>): Promise<void> {
    await this.#create(nodes, controlPlaneNode(name, '127.0.0.1'));
    await this.#createManager(name, flags);
  }

  /** As after a change of the manifest. */
  async changeFlags(node: string, flags: ReadonlyMap<string, string>): Promise<void> {
    const path = `${managerPath(node)}?gracePeriodSeconds=0`;
    await this.#plane.admin.must({ method: 'DELETE', path });
    await this.#createManager(node, flags);
  }

  async setNodeReady(name: string, status: 'True' | 'False'): Promise<void> {
    await this.#patchStatus(`${nodes}/${name}`, readiness(status));
  }

  /** kube-controller-manager of this node. */
  async setManagerReady(node: string, status: 'True' | 'False'): Promise<void> {
    await this.#patchStatus(managerPath(node), readiness(status));
  }

  async setAddress(node: string, address: string): Promise<void> {
    await this.#patchStatus(`${nodes}/${node}`, nodeStatus(address));
  }

  async #createManager(node: string, flags: ReadonlyMap<string, string>): Promise<void> {
    const given = [...flags].map(([flag, value]) => `--${flag}=${value}`);
    const command = ['kube-controller-manager', ...given];
    const container = { name: 'c', image: 'i', command };
    await this.#create(pods, mirrorPod('kube-controller-manager', node, container));
    await this.setManagerReady(node, 'True');
  }

  async #create(path: string, body: object): Promise<void> {
    await this.#plane.admin.must({ method: 'POST', path, body });
  }

  async #patchStatus(path: string, status: object): Promise<void> {
    await this.#plane.admin.must({ method: 'PATCH', path: `${path}/status`, body: { status } });
  }
}

function managerPath(node: string): string {
  return `${pods}/kube-controller-manager-${node}`;
}

function nodeStatus(address: string): object {
  return { ...readiness('True'), addresses: [{ type: 'InternalIP', address }] };
}

/** A control-plane Node that is Ready. */
export function controlPlaneNode(name: string, address: string): object {
  const labels = { 'node-role.kubernetes.io/control-plane': '' };
  return { metadata: { name, labels }, status: nodeStatus(address) };
}

/** As the kubelet mirrors a static pod of kubeadm. */
export function mirrorPod(component: string, node: string, container: object): object {
  const labels = { component, tier: 'control-plane' };
  const annotations = { 'kubernetes.io/config.mirror': 'hash' };
  return {
    metadata: { name: `${component}-${node}`, labels, annotations },
    spec: { nodeName: node, containers: [container] },
  };
}

export function readiness(status: string): object {
  return { conditions: [{ type: 'Ready', status }] };
}
