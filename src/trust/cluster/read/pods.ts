import * as v from 'valibot';
import type { Instant } from '../../../core/instant.ts';
import { instant } from '../../../kube/csr-object.ts';
import { listPages } from '../../../kube/list-pages.ts';
import type { PodGroup } from '../state.ts';
import type { ClusterReader } from './reading.ts';

/** A Pod has 5 to 20 kB. */
const pageSize = 200;

/**
 * The running pods that mount kube-root-ca.crt, by their owner.
 * @throws AgentError as KubeClient.request
 */
export async function readPodGroups({ client, signal }: ClusterReader): Promise<PodGroup[]> {
  const groups = new Map<string, PodGroup>();
  const options = {
    client: () => client,
    path: '/api/v1/pods',
    query: { fieldSelector: 'status.phase=Running' },
    schema,
    limit: pageSize,
    signal,
  };
  for await (const { items } of listPages(options)) {
    for (const pod of items) if (pod.startedAt !== undefined) add(pod, pod.startedAt, groups);
  }
  return [...groups.values()];
}

function add(
  { namespace, owner }: RunningPod,
  startedAt: Instant,
  groups: Map<string, PodGroup>,
): void {
  const key = `${namespace}/${owner}`;
  const group = groups.get(key);
  groups.set(key, {
    namespace,
    owner,
    pods: (group?.pods ?? 0) + 1,
    startedAt: Math.min(group?.startedAt ?? startedAt, startedAt),
  });
}

interface RunningPod {
  readonly namespace: string;
  readonly owner: string;
  /** Absent if no container runs, or none mounts the CAs. */
  readonly startedAt?: Instant;
}

const rootCa = 'kube-root-ca.crt';
const named = v.object({ name: v.nullish(v.string()) });
const container = v.object({
  state: v.nullish(
    v.object({ running: v.nullish(v.object({ startedAt: v.nullish(instant) })) }),
    {},
  ),
});
const containers = v.nullish(v.array(container), []);

const schema = v.pipe(
  v.object({
    metadata: v.object({
      name: v.string(),
      namespace: v.string(),
      labels: v.nullish(v.record(v.string(), v.string()), {}),
      ownerReferences: v.nullish(
        v.array(
          v.object({ kind: v.string(), name: v.string(), controller: v.nullish(v.boolean()) }),
        ),
        [],
      ),
    }),
    spec: v.object({
      volumes: v.nullish(
        v.array(
          v.object({
            configMap: v.nullish(named),
            projected: v.nullish(
              v.object({
                sources: v.nullish(v.array(v.object({ configMap: v.nullish(named) })), []),
              }),
            ),
          }),
        ),
        [],
      ),
    }),
    status: v.nullish(
      v.object({ containerStatuses: containers, initContainerStatuses: containers }),
      {},
    ),
  }),
  v.transform(({ metadata, spec, status }): RunningPod => {
    const { containerStatuses, initContainerStatuses } = status;
    const starts = [...containerStatuses, ...initContainerStatuses].flatMap(
      ({ state }) => state.running?.startedAt ?? [],
    );
    const mountsRootCa = spec.volumes.some(
      ({ configMap, projected }) =>
        configMap?.name === rootCa ||
        projected?.sources.some((source) => source.configMap?.name === rootCa),
    );
    return {
      namespace: metadata.namespace,
      owner: ownerOf(metadata),
      ...(mountsRootCa && starts.length > 0 && { startedAt: Math.min(...starts) }),
    };
  }),
);

interface Owned {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ownerReferences: readonly {
    readonly kind: string;
    readonly name: string;
    readonly controller?: boolean | null | undefined;
  }[];
}

/** The object that `kubectl rollout restart` accepts, so the Deployment and not its ReplicaSet. */
function ownerOf({ name, labels, ownerReferences }: Owned): string {
  const owner = ownerReferences.find(({ controller }) => controller === true);
  if (owner === undefined) return `Pod/${name}`;
  const suffix = `-${labels['pod-template-hash']}`;
  return owner.kind === 'ReplicaSet' && owner.name.endsWith(suffix)
    ? `Deployment/${owner.name.slice(0, -suffix.length)}`
    : `${owner.kind}/${owner.name}`;
}
