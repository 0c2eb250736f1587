import type { TrustAuthority } from '../../../core/trust.ts';
import type { Gate, GateInput, GateReason } from '../gate.ts';
import type { PublishedCas, PublishedClusterInfo } from '../state.ts';
import type { MissingSide } from './verdict.ts';
import {
  bindRole,
  counted,
  gateOf,
  holds,
  judged,
  missingSides,
  restoreServing,
  sideNames,
} from './verdict.ts';

/** G2: every client of the API servers can get both CAs. */
export function judgePublished(input: GateInput): Gate {
  const { trustBundles, clusterInfo } = input.state;
  return gateOf('G2', [
    ...judged(trustBundles, 'ClusterTrustBundles', (bundles) =>
      [...bundles].flatMap(([name, bundle]) => ofTrustBundle(name, bundle, input)),
    ),
    ...ofNamespaces(input),
    ...judged(clusterInfo, 'kube-public/cluster-info', (info) => ofClusterInfo(info, input)),
  ]);
}

const restartLeader =
  'Restart the leading kube-controller-manager, which reads --root-ca-file only when it starts; find its node: kubectl --namespace kube-system get lease kube-controller-manager';

/** Restoring takes a second, and publishing up to a minute. */
function remedyOf({ side, state }: MissingSide): string {
  return state === 'harmful' && side === 'next' ? restoreServing : restartLeader;
}

function ofTrustBundle(name: string, bundle: PublishedCas, input: GateInput): GateReason[] {
  const what = `ClusterTrustBundle ${name}`;
  return [
    ...malformed(what, bundle, 'Correct the file of kube-controller-manager --root-ca-file'),
    ...missingIn(bundle.authorities, input).map(({ side, state }) => ({
      state,
      message: `${what} lacks ${sideNames[side]}`,
      remedy: remedyOf({ side, state }),
    })),
  ];
}

function ofNamespaces(input: GateInput): readonly GateReason[] {
  const { namespaces, rootCas } = input.state;
  return judged(rootCas, 'kube-root-ca.crt of the namespaces', (published) => {
    const names = namespaces.outcome === 'read' ? namespaces.value : [...published.keys()];
    const without = names.filter((name) => !published.has(name));
    const found = names.flatMap((name) => {
      const { authorities = [] } = published.get(name) ?? {};
      return published.has(name)
        ? missingIn(authorities, input).map((missing) => ({ ...missing, name }))
        : [];
    });
    return [
      ...judged(namespaces, 'the list of namespaces', () => []),
      ...(without.length === 0 ? [] : [withoutRootCa(without)]),
      ...grouped(found).map(({ side, state, objects }) => ({
        state,
        message: `kube-root-ca.crt lacks ${sideNames[side]} in ${counted(objects.length, 'namespace')} of ${names.length}`,
        remedy: remedyOf({ side, state }),
        objects,
      })),
    ];
  });
}

function withoutRootCa(objects: readonly string[]): GateReason {
  return {
    state: 'waiting',
    message: `${counted(objects.length, 'namespace')} without kube-root-ca.crt`,
    remedy: 'Check that kube-controller-manager runs the controller root-ca-certificate-publisher',
    objects,
  };
}

const editClusterInfo =
  'Write both CAs into certificate-authority-data: kubectl --namespace kube-public edit configmap cluster-info';

function ofClusterInfo(info: PublishedClusterInfo, input: GateInput): GateReason[] {
  const what = 'kube-public/cluster-info';
  return [
    ...malformed(what, info, editClusterInfo),
    ...missingIn(info.authorities, input).map(({ side, state }) => ({
      state,
      message: `${what} lacks ${sideNames[side]}${state === 'harmful' ? ', so new nodes cannot join' : ''}`,
      remedy: editClusterInfo,
    })),
    ...unsigned(info),
  ];
}

function unsigned({ unsignedTokens }: PublishedClusterInfo): GateReason[] {
  if (unsignedTokens === undefined) {
    return [
      {
        state: 'unknown',
        message:
          'cannot verify the signatures of kube-public/cluster-info: the credential may not list Secrets in kube-system',
        remedy: bindRole,
      },
    ];
  }
  if (unsignedTokens.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: `kube-public/cluster-info is not signed for ${counted(unsignedTokens.length, 'bootstrap token')}`,
      remedy: 'Check that kube-controller-manager runs the controller bootstrap-signer-controller',
      objects: unsignedTokens,
    },
  ];
}

function malformed(what: string, { problem }: PublishedCas, remedy: string): GateReason[] {
  return problem === undefined
    ? []
    : [{ state: 'waiting', message: `${what}: ${problem}`, remedy }];
}

function missingIn(
  held: readonly TrustAuthority[],
  { authorities, servers }: GateInput,
): MissingSide[] {
  return missingSides((side) => holds(held, authorities[side]), servers);
}

interface Group extends MissingSide {
  readonly objects: readonly string[];
}

function grouped(found: readonly (MissingSide & { readonly name: string })[]): Group[] {
  return (['next', 'old'] as const).flatMap((side) => {
    const ofSide = found.filter((one) => one.side === side);
    const [first] = ofSide;
    if (first === undefined) return [];
    return [{ side, state: first.state, objects: ofSide.map(({ name }) => name) }];
  });
}
