import { controlPlaneDifferences, sharesNoAuthority } from './control-plane-differences.ts';
import type { ControlPlanes } from './control-planes.ts';
import type { GateReason, RolloverSide } from './gate.ts';
import { returnRemedy } from './gates/servers.ts';
import type { LocalControlPlane } from './local-control-plane.ts';
import type { ServerProbe } from './probes.ts';

export interface LocalChecks {
  readonly local: LocalControlPlane;
  readonly probes: readonly ServerProbe[];
  readonly others: Pick<ControlPlanes, 'reported'>;
  /** The command that writes the files of this node again. Absent outside of a rollover. */
  readonly repair?: string;
}

interface Own extends Pick<LocalChecks, 'local' | 'repair'> {
  /** The remedy for everything on a node that was off until the end of the rollover. */
  readonly wholeRemedy?: string;
}

/** What is wrong on this control-plane node, and where the control-plane nodes differ; harmful reasons first. */
export function checkLocalControlPlane(checks: LocalChecks): GateReason[] {
  const { local, probes, others } = checks;
  const wholeRemedy = wasOff(checks) ? returnRemedy() : undefined;
  const own = { ...checks, ...(wholeRemedy !== undefined && { wholeRemedy }) };
  const reasons = [
    ...filesOf(own),
    ...kubeconfigsWithout(own, probes),
    ...differentServers(probes),
    ...(local.trust === undefined
      ? []
      : controlPlaneDifferences(local.trust, others.reported, wholeRemedy)),
  ];
  return [...reasons.filter(isHarmful), ...reasons.filter((reason) => !isHarmful(reason))];
}

/** Two nodes without a common CA do not show which of them is behind. */
function wasOff({ local: { trust, trustFiles }, others }: LocalChecks): boolean {
  const hasNext = trustFiles.some(({ has }) => has.includes('next'));
  return trust !== undefined && !hasNext && sharesNoAuthority(trust, others.reported);
}

function filesOf(own: Own): GateReason[] {
  return [
    ...unmatchedKeys(own),
    ...badSigningFiles(own),
    ...unreadableTrust(own),
    ...differentTrust(own),
  ];
}

/** The latest step of `ca-rollover apply` writes all files of this node again. */
function remedyOn({ repair, wholeRemedy }: Own, byHand: string): string {
  return wholeRemedy ?? (repair === undefined ? byHand : `Run on this node: ${repair}`);
}

function isHarmful({ state }: GateReason): boolean {
  return state === 'harmful';
}

/** kube-controller-manager exits, and kubeadm refuses to sign. */
function unmatchedKeys(own: Own): GateReason[] {
  return own.local.keys
    .filter(({ matches }) => !matches)
    .map(({ certificate, key }) => ({
      state: 'harmful',
      message: `${key} does not match the first certificate of ${certificate}`,
      remedy: remedyOn(
        own,
        `Put the CA of ${key} first into ${certificate}, or restore the key of that CA`,
      ),
    }));
}

function badSigningFiles(own: Own): GateReason[] {
  return own.local.signingFiles
    .filter(({ issuer }) => issuer === 'unreadable')
    .map(({ place }) => ({
      state: 'harmful',
      message: `${place} is not one CA certificate, so nothing is signed with it`,
      remedy: remedyOn(own, 'Write exactly one certificate into it'),
    }));
}

function unreadableTrust(own: Own): GateReason[] {
  const { trustFiles, kubeconfigs } = own.local;
  return [...trustFiles, ...kubeconfigs].flatMap(({ flag, path, problem }) =>
    problem === undefined
      ? []
      : [
          {
            state: 'harmful',
            message: `${path} (${flag}): ${problem}`,
            remedy: remedyOn(own, `Write the CAs into ${path} again`),
          },
        ],
  );
}

/** In the middle of a step, one file has both CAs and another has one. */
function differentTrust(own: Own): GateReason[] {
  const [first, ...others] = own.local.trustFiles.filter(({ problem }) => problem === undefined);
  if (first === undefined) return [];
  return others
    .filter(({ has }) => named(has) !== named(first.has))
    .map(({ flag, path, has }) => ({
      state: 'waiting',
      message: `${path} (${flag}) has ${named(has)}, and ${first.path} (${first.flag}) has ${named(first.has)}`,
      remedy: remedyOn(own, 'Complete the step on this node: nodecertd ca-rollover plan'),
    }));
}

/** A component reads its kubeconfig when it starts, and then trusts no other CA. */
function kubeconfigsWithout(own: Own, probes: readonly ServerProbe[]): GateReason[] {
  const served = new Set(
    probes.flatMap(({ served: { issuedBy } }) =>
      issuedBy === 'old' || issuedBy === 'next' ? [issuedBy] : [],
    ),
  );
  return own.local.kubeconfigs.flatMap(({ path, has, problem }) => {
    const missing = [...served].filter((side) => !has.includes(side));
    if (problem !== undefined || missing.length === 0) return [];
    return [
      {
        state: 'harmful' as const,
        message: `${path} lacks ${named(missing)}, by which API servers serve a certificate`,
        remedy: remedyOn(
          own,
          `Write both CAs into ${path} with the command of the step trust: nodecertd ca-rollover plan`,
        ),
      },
    ];
  });
}

/** Each API server answers for itself which CAs it accepts. */
function differentServers(probes: readonly ServerProbe[]): GateReason[] {
  const [first, ...others] = probes;
  if (first === undefined) return [];
  const objects = others
    .filter((probe) => answerOf(probe) !== answerOf(first))
    .map(({ server, ...probe }) => `${server.name} ${answerOf({ server, ...probe })}`);
  if (objects.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: `the API servers do not have the same CAs: ${first.server.name} ${answerOf(first)}`,
      remedy: 'Complete the step on each control-plane node: nodecertd ca-rollover plan',
      objects,
    },
  ];
}

function answerOf({ byOld, byNext, served }: ServerProbe): string {
  return `(old CA ${byOld.kind}, new CA ${byNext.kind}, serves ${served.issuedBy})`;
}

const names = { old: 'the old CA', next: 'the new CA' } as const;

function named(sides: readonly RolloverSide[]): string {
  return sides.map((side) => names[side]).join(' and ') || 'neither CA';
}
