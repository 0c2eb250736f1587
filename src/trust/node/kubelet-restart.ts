import type { AgentError, Failure } from '../../core/errors.ts';
import { describeError, hasCode } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { formatInstant, minute, second } from '../../core/instant.ts';
import { rotationFraction } from '../../core/schedule.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { restartService, systemctlCommand } from '../../kubelet/restart.ts';
import { rollBackTrust } from './apply.ts';
import { pendingCsr } from './pending-csr.ts';
import type { Reader, ReaderFacts } from './reader.ts';
import type { TrustSession } from './session.ts';

/** What happens to a kubelet that may not use the CAs of its files. */
export type Restart =
  | { readonly kind: 'none' }
  /** Until the time, or until an administrator restarts the kubelet. */
  | { readonly kind: 'waiting'; readonly failure: Failure; readonly until?: Instant }
  | { readonly kind: 'done' }
  /** The previous files are in place again. */
  | { readonly kind: 'rolled-back'; readonly failure: Failure }
  | { readonly kind: 'failed'; readonly failure: Failure };

export interface RestartRequest {
  readonly session: TrustSession;
  readonly reader: Reader;
  readonly facts: ReaderFacts;
  /** Absent if the API server does not answer. */
  readonly client: KubeClient | undefined;
  /** Do not wait for the time of this node in `trust.spread`. */
  readonly restartNow: boolean;
}

/** Restarts the kubelet when it is due. If it does not stay up, the previous files come back. */
export async function restartIfDue(request: RestartRequest): Promise<Restart> {
  const { reader, session, restartNow } = request;
  if (reader.state !== 'pending') return { kind: 'none' };
  if (reader.readAt !== undefined) {
    return waiting(
      `the kubelet reads the CA file again by ${formatInstant(reader.readAt)}`,
      'Do nothing',
      reader.readAt,
    );
  }
  const since = reader.since ?? session.now;
  const pending = `the kubelet may not use the CAs of its files, which changed at ${formatInstant(since)}`;
  const unit = unitOf(request);
  const command = systemctlCommand('restart', unit ?? 'kubelet.service');
  const isAllowed = restartNow || session.request.config.trust.kubelet === 'restart';
  if (!isAllowed || unit === undefined) return waiting(pending, `Restart the kubelet: ${command}`);
  const at = restartNow ? session.now : restartTime(request, since);
  if (session.now < at) {
    const message = `${pending}; nodecertd restarts it at ${formatInstant(at)}`;
    return waiting(message, 'Restart it now: nodecertd trust sync --restart', at);
  }
  const obstacle = await pendingCsr(request);
  if (obstacle === undefined) return restart(request, unit);
  return waiting(
    `${pending}; nodecertd does not restart it yet: ${obstacle}`,
    'Do nothing',
    session.now + minute,
  );
}

function waiting(message: string, remedy: string, until?: Instant): Restart {
  const failure: Failure = { code: 'KUBELET_RESTART', message, remedy };
  return { kind: 'waiting', failure, ...(until !== undefined && { until }) };
}

function unitOf({ facts: { kubelet } }: RestartRequest): string | undefined {
  return kubelet.kind === 'running' ? kubelet.unit : undefined;
}

/** The nodes of a cluster get the same CAs at the same time, and must not restart together. */
function restartTime({ session, facts }: RestartRequest, since: Instant): Instant {
  const { nodeName, trust } = session.request.config;
  const change = facts.authorities.kubeconfig.join(' ');
  const fraction = rotationFraction(nodeName, 'kubelet restart', change);
  return since + fraction * trust.spreadSeconds * second;
}

async function restart(request: RestartRequest, unit: string): Promise<Restart> {
  const { clock, signal, machine } = request.session.request;
  const restartUnit = (): Promise<void> =>
    restartService({ unit, clock, signal, systemctl: machine?.systemctl });
  try {
    await restartUnit();
    return { kind: 'done' };
  } catch (error) {
    if (!hasCode(error, 'KUBELET_RESTART')) throw error;
    return undo(request, error, restartUnit);
  }
}

/** Restores the files only if nodecertd changed them last, and did not restore them already. */
async function undo(
  { session, reader }: RestartRequest,
  cause: AgentError,
  restartUnit: () => Promise<void>,
): Promise<Restart> {
  const { code, remedy } = cause;
  const advice = remedy !== undefined && { remedy };
  const { changedAt, rolledBack } = session.memory;
  const isOurs = reader.since === changedAt && reader.since !== rolledBack?.at;
  const run =
    changedAt !== undefined && isOurs
      ? await rollBackTrust(session.files, { force: false })
      : undefined;
  if (run === undefined) {
    return { kind: 'failed', failure: { code, message: cause.message, ...advice } };
  }
  const again = await restartUnit().then(
    () => 'the kubelet was restarted with them',
    (error: unknown) => `the kubelet does not start with them either: ${describeError(error)}`,
  );
  const message = `${cause.message}; the previous CAs are restored, and ${again}`;
  return { kind: 'rolled-back', failure: { code, message, ...advice } };
}
