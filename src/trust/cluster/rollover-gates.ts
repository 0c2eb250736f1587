import type { Failure } from '../../core/errors.ts';
import { without } from '../../core/without.ts';
import { publishedAuthorities } from './authorities.ts';
import type { Gate, GateInput, ProbedIssuer } from './gate.ts';
import { judgeDroppable } from './gates/droppable.ts';
import { judgeNodes } from './gates/nodes.ts';
import { judgePods } from './gates/pods.ts';
import { judgePublished } from './gates/published.ts';
import { judgeReissued } from './gates/reissued.ts';
import type { ServersFacts } from './gates/servers.ts';
import { judgeServers } from './gates/servers.ts';
import { judgeServing } from './gates/serving.ts';
import { judgeSigner } from './gates/signer.ts';
import { gateOf, holds } from './gates/verdict.ts';
import { leftovers } from './leftovers.ts';
import type { TrustFile } from './local-trust.ts';
import { isInUse } from './in-use.ts';
import type { ServerProbe } from './probes.ts';

/** What the gates of the API servers need beside the input of the others. */
export interface ServerFindings {
  readonly probes: readonly ServerProbe[];
  /** The files of kube-apiserver --kubelet-certificate-authority. */
  readonly kubeletAuthorities: readonly TrustFile[];
  /** The file of kube-apiserver --client-ca-file on this node. Empty on other machines. */
  readonly clientAuthorities: readonly TrustFile[];
  readonly kubelets: readonly ProbedIssuer[];
  readonly unlisted?: Failure;
}

/** Every gate, in the order of a rollover. */
export function judgeAll(input: GateInput, findings: ServerFindings): Gate[] {
  const { probes, clientAuthorities } = findings;
  const [signer, serving, reissued] = [
    judgeSigner(input),
    judgeServing(probes),
    judgeReissued(input),
  ];
  const isOldInUse = reissued.state !== 'open';
  const servers = judgeServers(serversFacts(input, findings, isOldInUse));
  const first = [servers, judgePublished(input), judgeNodes(input), judgePods(input)];
  const { reasons } = judgeDroppable(input, [signer, serving, reissued]);
  // Without a probe by the old CA, it is unknown whether an API server still accepts that CA.
  const isOldAccepted = probes.some(({ byOld }) => byOld.kind === 'accepted');
  // `finish --keep-absent-nodes` keeps the old CA in --client-ca-file, and kube-apiserver would add it again.
  const isOldKept = clientAuthorities.some(({ has }) => has.includes('old'));
  const left =
    isOldKept || input.confirmed?.removesLeftovers === true
      ? []
      : leftovers(isOldAccepted ? input : without(input, 'servers'));
  return [...first, signer, serving, reissued, gateOf('G8', [...reasons, ...left])];
}

function serversFacts(
  input: GateInput,
  { probes, kubeletAuthorities, kubelets, unlisted }: ServerFindings,
  isOldInUse: boolean,
): ServersFacts {
  const { leaves = [], hiddenControlPlanes = [] } = input;
  const published = publishedAuthorities(input.state);
  return {
    probes,
    isOldInUse,
    isNextInUse: isInUse('next', input),
    isOldGone: published.length > 0 && !holds(published, input.authorities.old),
    kubeletAuthorities,
    servedByKubelets: new Set(kubelets.map(({ issuer }) => issuer)),
    readAt: input.state.readAt,
    ...(unlisted !== undefined && { unlisted }),
    managers: leaves.filter(({ place }) => place.includes('controller-manager.conf')),
    hiddenControlPlanes,
  };
}
