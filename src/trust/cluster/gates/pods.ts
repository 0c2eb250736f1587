import type { Instant } from '../../../core/instant.ts';
import { minute } from '../../../core/instant.ts';
import type { Gate, GateInput, GateReason } from '../gate.ts';
import type { PodGroup, PublishedCas, Reading } from '../state.ts';
import { counted, gateOf, holds, judged } from './verdict.ts';

/**
 * A container that restarts in a running pod may still find the earlier kube-root-ca.crt: the kubelet
 * writes a changed ConfigMap into a volume at its next sync of the pod, every 60s to 90s.
 */
const volumeDelay = 2 * minute;

/** G4: no running pod has started before its namespace had the new CA. */
export function judgePods(input: GateInput): Gate {
  const { pods, rootCas } = input.state;
  if (input.confirmed?.pods === true) return gateOf('G4', []);
  return gateOf(
    'G4',
    judged(pods ?? notRead, 'Pods', (groups) =>
      judged(rootCas, 'kube-root-ca.crt of the namespaces', (published) =>
        reasonsOf(groups, published, input),
      ),
    ),
  );
}

const notRead: Reading<never> = {
  outcome: 'forbidden',
  failure: { code: 'INTERNAL', message: 'they were not read' },
};

function reasonsOf(
  groups: readonly PodGroup[],
  published: ReadonlyMap<string, PublishedCas>,
  { authorities }: GateInput,
): GateReason[] {
  const behind: PodGroup[] = [];
  const undated: PodGroup[] = [];
  for (const group of groups) {
    const { authorities: held = [], changedAt } = published.get(group.namespace) ?? {};
    if (!holds(held, authorities.next)) behind.push(group);
    else if (changedAt === undefined) undated.push(group);
    else if (isEarlier(group, changedAt)) behind.push(group);
  }
  return [
    ...reasonFor(behind, {
      state: 'waiting',
      what: 'started before kube-root-ca.crt of the namespace had the new CA',
    }),
    ...reasonFor(undated, {
      state: 'unknown',
      what: 'may have started before kube-root-ca.crt of the namespace had the new CA, which has no managedFields',
    }),
  ];
}

function isEarlier({ startedAt }: PodGroup, changedAt: Instant): boolean {
  return startedAt < changedAt + volumeDelay;
}

function reasonFor(
  groups: readonly PodGroup[],
  { state, what }: { readonly state: 'waiting' | 'unknown'; readonly what: string },
): GateReason[] {
  if (groups.length === 0) return [];
  const pods = groups.reduce((sum, group) => sum + group.pods, 0);
  return [
    {
      state,
      message: `${counted(pods, 'running pod')} ${what}`,
      remedy:
        'Restart them: kubectl --namespace NAMESPACE rollout restart OWNER, or kubectl --namespace NAMESPACE delete pod NAME if a pod has no owner; programs with client-go 1.36 or later read the CA again, so confirm them with --pods-ok',
      objects: groups.map(({ namespace, owner }) => `${namespace}/${owner}`),
    },
  ];
}
