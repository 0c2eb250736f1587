import { formatTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import { report } from '../support/rollover-state.ts';
import { inParallel } from './in-parallel.ts';

export interface ClusterSize {
  readonly nodes: number;
  readonly namespaces: number;
}

/**
 * A real control plane in the middle of a CA rollover, with Nodes as long as those of a busy cluster.
 * Nothing signs and nothing publishes while it is measured.
 */
export async function startRolloverCluster(size: ClusterSize): Promise<RolloverPlane> {
  const rollover = await RolloverPlane.start();
  try {
    const { oldCa, newCa } = rollover;
    await rollover.publish(oldCa, newCa);
    await rollover.announce(oldCa, newCa);
    await rollover.plane.stopControllers();
    await createNodes(rollover, size.nodes);
    await createNamespaces(rollover, size.namespaces);
    return rollover;
  } catch (error) {
    await rollover[Symbol.asyncDispose]();
    throw error;
  }
}

const connections = 16;

async function createNodes(rollover: RolloverPlane, count: number): Promise<void> {
  const cas = readAuthorities(Buffer.from(rollover.bundle)).authorities.map(({ fingerprint }) =>
    fingerprint.slice(0, 16),
  );
  await inParallel(numbers(count), connections, async (index) => {
    const name = `node-${index}`;
    const annotation = formatTrustAnnotation(
      report({
        places: { kubeconfig: cas, clientCa: cas },
        leaf: { 'kubelet-client': cas[0] ?? '', 'kubelet-server': cas[0] ?? '' },
        reportedAt: Date.now() - index * 1_000,
      }),
    );
    await rollover.plane.admin.must({
      method: 'POST',
      path: '/api/v1/nodes',
      body: {
        metadata: { name, annotations: { [trustAnnotationKey]: annotation } },
        status: statusOf(name, index),
      },
    });
  });
}

/** The kubelet reports up to 50 images, each with two names (`--node-status-max-images`). */
function statusOf(name: string, index: number): object {
  const digest = 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef';
  return {
    addresses: [
      { type: 'InternalIP', address: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}` },
      { type: 'Hostname', address: name },
    ],
    conditions: ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
      type,
      status: type === 'Ready' ? 'True' : 'False',
      reason: 'KubeletHasSufficientResources',
      message: 'kubelet has sufficient resources available',
      lastHeartbeatTime: '2026-11-29T12:00:00Z',
      lastTransitionTime: '2026-11-29T12:00:00Z',
    })),
    daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
    images: numbers(50).map((image) => ({
      names: [
        `registry.example.com/team/application-${image}@${digest}`,
        `registry.example.com/team/application-${image}:v1.${index % 10}.0`,
      ],
      sizeBytes: 50_000_000 + image,
    })),
  };
}

/** As kube-controller-manager would, which needs a minute for a thousand. */
async function createNamespaces(rollover: RolloverPlane, count: number): Promise<void> {
  await inParallel(numbers(count), connections, async (index) => {
    const name = `team-${index}`;
    const { admin } = rollover.plane;
    await admin.must({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name } } });
    await admin.must({
      method: 'POST',
      path: `/api/v1/namespaces/${name}/configmaps`,
      body: { metadata: { name: 'kube-root-ca.crt' }, data: { 'ca.crt': rollover.bundle } },
    });
  });
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
