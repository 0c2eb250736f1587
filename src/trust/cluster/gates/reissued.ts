import { formatDuration, formatInstant, minute } from '../../../core/instant.ts';
import { shortFingerprint } from '../../../core/trust.ts';
import type { TrustAnnotation } from '../../../core/trust-annotation.ts';
import type { Gate, GateInput, GateReason, KubeletClient, ProbedIssuer } from '../gate.ts';
import { sideOf } from '../issued-by.ts';
import type { NodeCause } from './nodes.ts';
import { reasonsOfNodes } from './nodes.ts';
import { gateOf, judged } from './verdict.ts';

/** An API server reads its client certificate for kubelets every 5 minutes. */
const kubeletClientDelay = 6 * minute;

/** G7: the new CA issued every certificate in use. */
export function judgeReissued(input: GateInput): Gate {
  return gateOf('G7', [
    ...judged(input.state.nodes, 'Nodes', (nodes) =>
      reasonsOfNodes(nodes, input, (report) => behindInLeaves(report, input)),
    ),
    ...ofPlaces(input),
    ...(input.kubeletClients ?? []).flatMap((client) => ofKubeletClient(client, input)),
    ...(input.hiddenControlPlanes ?? []),
  ]);
}

function behindInLeaves(report: TrustAnnotation, input: GateInput): NodeCause[] {
  const leaves = Object.entries(report.leaf);
  if (leaves.length === 0) return [withoutLeaf];
  const behind = leaves.flatMap(([name, issuer]): NodeCause[] => {
    const side = sideOf(issuer, input.authorities);
    if (side === 'next') return [];
    const isOld = side === 'old';
    const state = isOld ? stateOfOld(input) : 'waiting';
    const renewal = `on the node: nodecertd renew ${name}`;
    return [
      {
        state,
        what: `the certificate ${name} was issued by ${isOld ? 'the old CA' : 'another CA'}`,
        remedy: state === 'harmful' ? `${acceptOld}; then, ${renewal}` : `Renew it, ${renewal}`,
      },
    ];
  });
  if (behind.length > 0) return behind;
  return [...unreadClient(report, input), ...unreadAuthority(report, input)];
}

/**
 * With the bridge, a kubelet that has not loaded the new CA can still connect. It fails when `finish` removes
 * the bridge.
 */
function unreadAuthority({ unread }: TrustAnnotation, { authorities }: GateInput): NodeCause[] {
  if (unread?.includes(shortFingerprint(authorities.next.fingerprint)) !== true) return [];
  return [
    {
      state: 'waiting',
      what: 'the kubelet may not have loaded the new CA from its files',
      remedy: 'Run on each of these nodes: nodecertd trust sync --restart',
    },
  ];
}

/** The API servers would reject the previous certificate on the open connections of the kubelet. */
function unreadClient(
  { clientReadAt }: TrustAnnotation,
  { state: { readAt } }: GateInput,
): NodeCause[] {
  if (clientReadAt === undefined || clientReadAt <= readAt) return [];
  return [
    {
      state: 'waiting',
      what: 'the kubelet may still use its previous client certificate',
      remedy: `Wait until ${formatInstant(clientReadAt)}, or restart the kubelet on the node and run: nodecertd trust sync`,
    },
  ];
}

const withoutLeaf: NodeCause = {
  state: 'waiting',
  what: 'the report names no certificate',
  remedy: 'Check the agent on the node: nodecertd status',
};

/** The API server answers 401 to a certificate issued by a CA that has left its --client-ca-file. */
function stateOfOld({ servers }: GateInput): 'harmful' | 'waiting' {
  return servers?.rejects.has('old') === true ? 'harmful' : 'waiting';
}

/** The holder of a rejected certificate cannot renew it. */
const acceptOld =
  'Write both CAs into --client-ca-file of each kube-apiserver, which reloads it within a second';

function ofPlaces(input: GateInput): GateReason[] {
  const { leaves = [] } = input;
  const at = (issuer: ProbedIssuer['issuer']): string[] =>
    leaves.filter((leaf) => leaf.issuer === issuer).map(({ place }) => place);
  return [
    ...reasonFor(at('old'), stateOfOld(input), {
      message: 'certificates issued by the old CA are in use',
      remedy:
        stateOfOld(input) === 'harmful'
          ? `${acceptOld}; then, on a control-plane node: nodecertd certs renew`
          : 'Renew them; on a control-plane node: nodecertd certs renew',
    }),
    ...reasonFor(at('other'), 'waiting', {
      message: 'certificates issued by neither CA are in use',
      remedy: 'Find their issuer: nodecertd certs check-expiration',
    }),
    ...reasonFor(at('unreadable'), 'unknown', {
      message: 'cannot see the issuer of certificates',
      remedy: 'Run the command as root on a machine that reaches these places',
    }),
  ];
}

function reasonFor(
  objects: readonly string[],
  state: GateReason['state'],
  text: { readonly message: string; readonly remedy: string },
): GateReason[] {
  return objects.length === 0 ? [] : [{ state, ...text, objects }];
}

function ofKubeletClient(
  { place, changedAt, serverStartedAt }: KubeletClient,
  { state: { readAt } }: GateInput,
): GateReason[] {
  const age = readAt - changedAt;
  // An API server also reads the file when it starts.
  const isRead = serverStartedAt !== undefined && serverStartedAt > changedAt;
  if (isRead || age >= kubeletClientDelay) return [];
  return [
    {
      state: 'waiting',
      message: `${place} changed ${formatDuration(age)} ago, and API servers may use the previous one for 6m`,
      remedy: `Wait for ${formatDuration(kubeletClientDelay - age)}`,
    },
  ];
}
