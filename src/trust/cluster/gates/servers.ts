import type { Gate, GateReason, ProbedIssuer, RolloverSide } from '../gate.ts';
import { gateOf, sideNames, unseen } from './verdict.ts';
import type { Failure } from '../../../core/errors.ts';
import type { Instant } from '../../../core/instant.ts';
import { formatDuration, minute } from '../../../core/instant.ts';
import type { TrustFile } from '../local-trust.ts';
import type { ProbeResult, ServerProbe } from '../probes.ts';
import { repairCommand } from '../../control-plane/apply-command.ts';
import { returnCommand } from '../plan-commands.ts';

/** What the API servers do, and which CAs are in use. */
export interface ServersFacts {
  readonly probes: readonly ServerProbe[];
  /** A client or a server has a certificate issued by the old CA. */
  readonly isOldInUse: boolean;
  /** The new CA has issued a certificate already. */
  readonly isNextInUse: boolean;
  /** The cluster publishes the new CA alone: the rollover is complete on all nodes that were on. */
  readonly isOldGone: boolean;
  /** The file of each kube-apiserver that has --kubelet-certificate-authority. */
  readonly kubeletAuthorities: readonly TrustFile[];
  /** The CAs by which kubelets serve a certificate now. */
  readonly servedByKubelets: ReadonlySet<ProbedIssuer['issuer']>;
  readonly readAt: Instant;
  /** Why there may be API servers that were not probed. */
  readonly unlisted?: Failure;
  /** The files with a client certificate of kube-controller-manager, with its issuer. */
  readonly managers: readonly ProbedIssuer[];
  /** Why the files of some control-plane nodes are unknown. */
  readonly hiddenControlPlanes: readonly GateReason[];
}

/** kube-apiserver reads --kubelet-certificate-authority every 5 minutes. */
const kubeletAuthorityDelay = 6 * minute;

/** G1: each API server accepts certificates of both CAs from clients and from kubelets. */
export function judgeServers(facts: ServersFacts): Gate {
  const { probes, isOldInUse, isNextInUse, isOldGone, unlisted, managers } = facts;
  const writeBoth = `Write both CAs into the file of its --client-ca-file, which it reloads within a second; on a node of kubeadm: ${repairCommand(isNextInUse)}`;
  const users = { old: managersWith('old', managers), new: managersWith('next', managers) };
  return gateOf('G1', [
    ...(unlisted === undefined ? [] : [unseen('all API servers', unlisted.message)]),
    ...unanswered(probes),
    ...withoutKey(probes, isOldInUse),
    ...rejections(probes, {
      ca: 'new',
      result: ({ byNext }) => byNext,
      isInUse: isNextInUse,
      managers: users.new,
      remedy: ([node]) =>
        isOldGone ? `${returnRemedy(node)}. The other gates then open too` : writeBoth,
    }),
    // At the end of a rollover, a server has to reject certificates that the old CA issued.
    ...(isOldInUse
      ? rejections(probes, {
          ca: 'old',
          result: ({ byOld }) => byOld,
          isInUse: true,
          managers: users.old,
          remedy: () => (isOldGone ? `${returnRemedy()}. Otherwise: ${writeBoth}` : writeBoth),
        })
      : []),
    ...facts.kubeletAuthorities.flatMap((file) => ofKubeletAuthority(file, facts)),
    ...facts.hiddenControlPlanes,
  ]);
}

function managersWith(side: RolloverSide, managers: readonly ProbedIssuer[]): readonly string[] {
  return managers.filter(({ issuer }) => issuer === side).map(({ place }) => place);
}

function ofKubeletAuthority(
  { flag, path, has, changedAt = 0 }: TrustFile,
  { servedByKubelets, isOldInUse, readAt }: ServersFacts,
): GateReason[] {
  const needed = isOldInUse ? (['next', 'old'] as const) : (['next'] as const);
  const missing = needed.filter((side) => !has.includes(side));
  if (missing.length > 0) {
    const isServed = missing.some((side) => servedByKubelets.has(side));
    const consequence = isServed ? ', which issued certificates that kubelets serve' : '';
    return [
      {
        state: isServed ? 'harmful' : 'waiting',
        message: `${path} (${flag}) lacks ${missing.map((side) => sideNames[side]).join(' and ')}${consequence}`,
        remedy: `Write both CAs into ${path}`,
      },
    ];
  }
  const age = readAt - changedAt;
  if (age >= kubeletAuthorityDelay) return [];
  const rest = formatDuration(kubeletAuthorityDelay - age);
  return [
    {
      state: 'waiting',
      message: `${path} (${flag}) changed ${formatDuration(age)} ago, and kube-apiserver may use the previous content`,
      remedy: `Wait for ${rest}`,
    },
  ];
}

function unanswered(probes: readonly ServerProbe[]): GateReason[] {
  return probes.flatMap(({ server, byOld, byNext }) => {
    const failed = [byOld, byNext].find(isFailed);
    if (failed === undefined) return [];
    return [
      {
        state: 'unknown',
        message: `kube-apiserver on ${server.name} could not be probed: ${failed.reason}`,
        remedy: `Start it, or run the command on a machine that reaches ${server.host}`,
      },
    ];
  });
}

function isFailed(result: ProbeResult): result is Extract<ProbeResult, { kind: 'failed' }> {
  return result.kind === 'failed';
}

/** At the end of a rollover, the key of the old CA is destroyed. */
function withoutKey(probes: readonly ServerProbe[], isOldInUse: boolean): GateReason[] {
  const missing = [
    ...(isOldInUse && probes.some(({ byOld }) => byOld.kind === 'no-key') ? ['old'] : []),
    ...(probes.some(({ byNext }) => byNext.kind === 'no-key') ? ['new'] : []),
  ];
  return missing.map((ca) => ({
    state: 'unknown',
    message: `no API server was probed with a client certificate issued by the ${ca} CA, because its key is not on this machine`,
    remedy:
      'Run the command as root on a control-plane node that has both keys, or name the file: --ca-key FILE',
  }));
}

/** A node that was off until the end has no file of the rollover, so no step repairs it. */
export function returnRemedy(node = 'NODE'): string {
  return `If ${node === 'NODE' ? 'this node' : node} was off during the rollover, run on another control-plane node: ${returnCommand(node)}; it prints the commands`;
}

interface Rejection {
  readonly ca: 'old' | 'new';
  readonly result: (probe: ServerProbe) => ProbeResult;
  readonly isInUse: boolean;
  readonly managers: readonly string[];
  readonly remedy: (nodes: readonly string[]) => string;
}

function rejections(
  probes: readonly ServerProbe[],
  { ca, result, isInUse, managers, remedy }: Rejection,
): GateReason[] {
  const objects = probes
    .filter((probe) => result(probe).kind === 'rejected')
    .map(({ server }) => server.name);
  if (objects.length === 0) return [];
  // Without kube-controller-manager, no CSR is issued and no CA is published.
  const manager =
    managers.length === 0 ? '' : `, also by kube-controller-manager (${managers.join(', ')})`;
  const consequence = isInUse ? `; certificates issued by the ${ca} CA are in use${manager}` : '';
  return [
    {
      state: isInUse ? 'harmful' : 'waiting',
      message: `kube-apiserver rejects client certificates issued by the ${ca} CA${consequence}`,
      remedy: remedy(objects),
      objects,
    },
  ];
}
