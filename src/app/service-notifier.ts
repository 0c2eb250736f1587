import { hostNameProblem } from '../core/host-name.ts';
import { formatDuration, minute, second } from '../core/instant.ts';
import type { AgentStatus, CertificateState, CertificateStatus } from '../core/status.ts';
import { problems } from '../metrics/health.ts';
import type { ServiceManager } from '../sys/service-manager.ts';

/**
 * Tells the service manager that the service is ready, what it is doing, and that its
 * loop is running. The loop itself sends the messages, not a timer, so that WatchdogSec
 * restarts the agent if, and only if, the loop hangs.
 */
export class ServiceNotifier {
  readonly #manager: ServiceManager | undefined;
  #ready = false;
  #lastStatus: string | undefined;

  constructor(manager: ServiceManager | undefined) {
    this.#manager = manager;
  }

  /**
   * The longest pause of the loop in milliseconds. It is short until the service is ready,
   * because other units wait for that, and half the watchdog's time after that.
   */
  get longestPause(): number {
    if (this.#manager === undefined) return minute;
    if (!this.#ready) return second;
    return Math.min(minute, (this.#manager.watchdogMs ?? Infinity) / 2);
  }

  /** Called in every round of the loop. */
  round(status: AgentStatus): void {
    const line = `STATUS=${statusLine(status)}`;
    this.#notify([
      ...(!this.#ready && isSettled(status) ? ['READY=1'] : []),
      ...(line === this.#lastStatus ? [] : [line]),
      ...(this.#manager?.watchdogMs === undefined ? [] : ['WATCHDOG=1']),
    ]);
    this.#lastStatus = line;
    this.#ready ||= isSettled(status);
  }

  /** Sends nothing before the service is ready: systemd would count a service that reloads as started. */
  reloading(): void {
    if (!this.#ready) return;
    // systemd tells several reloads apart by this time (sd_notify(3), Type=notify-reload).
    const monotonic = process.hrtime.bigint() / 1_000n;
    this.#notify(['RELOADING=1', `MONOTONIC_USEC=${monotonic}`]);
  }

  reloaded(): void {
    if (this.#ready) this.#notify(['READY=1']);
  }

  stopping(): void {
    this.#notify(['STOPPING=1', 'STATUS=Stopping']);
  }

  #notify(assignments: readonly string[]): void {
    if (assignments.length > 0) this.#manager?.notify(...assignments);
  }
}

/**
 * Ready means that every certificate is usable, or has been waiting for something outside
 * the agent for longer than an automatic approver or signer needs. Units that start after
 * this service then find their certificates, and are not blocked if there are none.
 */
export function isSettled(status: AgentStatus): boolean {
  const { certificates, now, startedAt, placeholderHostName } = status;
  if (placeholderHostName !== undefined) return Math.abs(now - startedAt) >= graceMs;
  return certificates.every(
    ({ usable, state, since }) =>
      usable || attempted.has(state) || (waiting.has(state) && Math.abs(now - since) >= graceMs),
  );
}

/** Automatic approvers and signers need a few seconds. */
const graceMs = 10 * second;
const waiting: ReadonlySet<CertificateState> = new Set<CertificateState>([
  'pending-approval',
  'pending-issuance',
  'waiting-for-addresses',
  'waiting-for-identity',
]);
/** States after an attempt, or in which no attempt is possible. */
const attempted: ReadonlySet<CertificateState> = new Set<CertificateState>([
  'observing',
  'backing-off',
  'not-yet-valid',
]);

/** One line for `systemctl status`: problems first, then the healthy certificates. */
export function statusLine(status: AgentStatus): string {
  const { certificates, now } = status;
  const missing = hostNameProblem(status);
  if (missing !== undefined) return missing.message;
  const healthy = certificates.filter(({ usable, overdue }) => usable && !overdue);
  const others = certificates
    .filter((one) => !healthy.includes(one))
    .map((one) => describeProblem(one, now));
  const next = nextRotation(healthy, now);
  return [
    ...others,
    `${healthy.length} of ${certificates.length} certificates valid${next === undefined ? '' : `, ${next}`}`,
  ].join('; ');
}

function describeProblem(certificate: CertificateStatus, now: number): string {
  const { name, state, since, overdue } = certificate;
  const [reason] = problems(certificate, now).slice(-1);
  const word = `${state.replaceAll('-', ' ')} for ${formatDuration(now - since)}`;
  const head = `${name}: ${overdue ? 'rotation overdue' : word}`;
  return reason === undefined ? head : `${head} (${reason})`;
}

function nextRotation(certificates: readonly CertificateStatus[], now: number): string | undefined {
  const [next] = certificates
    .filter(({ rotationDeadline }) => rotationDeadline !== undefined)
    .toSorted((a, b) => (a.rotationDeadline ?? 0) - (b.rotationDeadline ?? 0));
  if (next?.rotationDeadline === undefined) return undefined;
  const left = next.rotationDeadline - now;
  return left <= 0
    ? `${next.name} is being rotated`
    : `next rotation ${next.name} in ${formatDuration(left)}`;
}
