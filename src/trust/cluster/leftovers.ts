import type { TrustAuthority } from '../../core/trust.ts';
import { holds, judged } from './gates/verdict.ts';
import type { GateInput, GateReason } from './gate.ts';
import type { ClusterState } from './state.ts';

/**
 * Where the old CA stays after the last step. API servers merge their clients' CAs into
 * kube-system/extension-apiserver-authentication and remove none, so extension servers would accept
 * clients of the old CA forever. Each API server creates the ConfigMap again at once.
 */
export function leftovers(input: GateInput): readonly GateReason[] {
  const { extensionAuthentication } = input.state;
  return judged(extensionAuthentication, configMap, ({ authorities }) =>
    ofAuthorities(authorities, input),
  );
}

const configMap = 'kube-system/extension-apiserver-authentication';

function ofAuthorities(
  held: readonly TrustAuthority[],
  { state, authorities: { old }, servers }: GateInput,
): GateReason[] {
  const isInUse = isPublished(old, state) || servers?.rejects.has('old') === false;
  if (!holds(held, old) || isInUse) return [];
  return [
    {
      state: 'waiting',
      message: `${configMap} still has the old CA`,
      remedy:
        'Once no API server has it in --client-ca-file: kubectl --namespace kube-system delete configmap extension-apiserver-authentication',
    },
  ];
}

function isPublished(authority: TrustAuthority, { rootCas, trustBundles }: ClusterState): boolean {
  return [rootCas, trustBundles].some(
    (reading) =>
      reading.outcome === 'read' &&
      reading.value.values().some(({ authorities }) => holds(authorities, authority)),
  );
}
