import { formatDuration, minute, second } from '../core/instant.ts';
import type { AgentStatus, CertificateState, CertificateStatus } from '../core/status.ts';
import { missing } from '../metrics/health.ts';
import type { ServiceManager } from '../sys/service-manager.ts';

/**
 * Keeps the service manager informed: that the service is ready, what it does, and
 * that its loop comes round. Told from the loop itself and from no timer, so that
 * WatchdogSec of the unit ends an agent that hangs, and none that works.
 */
export class ServiceNotifier {
  readonly #manager: ServiceManager | undefined;
  #ready = false;
  #said: string | undefined;

  constructor(manager: ServiceManager | undefined) {
    this.#manager = manager;
  }

  /**
   * How long the loop may pause at most: until the service is ready others wait for
   * it, and of a watchdog's time a round may take half.
   */
  get longestPause(): number {
    if (this.#manager === undefined) return minute;
    if (!this.#ready) return second;
    return Math.min(minute, (this.#manager.watchdogMs ?? Infinity) / 2);
  }

  /** The loop came round. */
  round(status: AgentStatus): void {
    const news = `STATUS=${statusLine(status)}`;
    this.#tell([
      ...(!this.#ready && isSettled(status) ? ['READY=1'] : []),
      ...(news === this.#said ? [] : [news]),
      ...(this.#manager?.watchdogMs === undefined ? [] : ['WATCHDOG=1']),
    ]);
    this.#said = news;
    this.#ready ||= isSettled(status);
  }

  /** While the service is not ready yet, nobody is told that it is not for another reason. */
  reloading(): void {
    if (!this.#ready) return;
    // systemd wants to know which of several reloads this is (sd_notify(3), Type=notify-reload).
    const monotonic = process.hrtime.bigint() / 1_000n;
    this.#tell(['RELOADING=1', `MONOTONIC_USEC=${monotonic}`]);
  }

  reloaded(): void {
    if (this.#ready) this.#tell(['READY=1']);
  }

  stopping(): void {
    this.#tell(['STOPPING=1', 'STATUS=Stopping']);
  }

  #tell(assignments: readonly string[]): void {
    if (assignments.length > 0) this.#manager?.notify(...assignments);
  }
}

/**
 * Ready means: every certificate is usable, or waits for somebody else and has done so
 * for long enough that no program will come to its help at once. What starts after
 * this service finds its certificates where they can be had, and is not kept from
 * starting where they cannot.
 */
export function isSettled({ certificates, now }: AgentStatus): boolean {
  return certificates.every(
    ({ usable, state, since }) =>
      usable || afterwards.has(state) || (waiting.has(state) && Math.abs(now - since) >= patience),
  );
}

/** Approvers and signers that are programs take seconds. */
const patience = 10 * second;
const waiting: ReadonlySet<CertificateState> = new Set<CertificateState>([
  'pending-approval',
  'pending-issuance',
  'waiting-for-addresses',
  'waiting-for-identity',
]);
/** An attempt has been made, or none can be. */
const afterwards: ReadonlySet<CertificateState> = new Set<CertificateState>([
  'observing',
  'backing-off',
  'not-yet-valid',
]);

/** One line for `systemctl status`: what needs somebody first, then what is well. */
export function statusLine({ certificates, now }: AgentStatus): string {
  const well = certificates.filter(({ usable, overdue }) => usable && !overdue);
  const troubled = certificates
    .filter((one) => !well.includes(one))
    .map((one) => troubleOf(one, now));
  const next = nextRotation(well, now);
  return [
    ...troubled,
    `${well.length} of ${certificates.length} certificates valid${next === undefined ? '' : `, ${next}`}`,
  ].join('; ');
}

function troubleOf(certificate: CertificateStatus, now: number): string {
  const { name, state, since, overdue } = certificate;
  const [reason] = missing(certificate, now).slice(-1);
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
