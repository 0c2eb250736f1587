import type { Instant } from '../core/instant.ts';
import { formatInstant, minute } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

export interface LoopWatchdogOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The certificate directory, for the remedy. */
  readonly directory: string;
}

/**
 * Detects that the keeper's loop is stuck. Each round waits for file systems, and one that
 * does not answer (a network file system whose server is gone) blocks such a call forever;
 * then nothing fails and nothing is retried.
 *
 * Counts its own checks, not time: after a suspended night, a SIGSTOP or a clock that was
 * set, there is one more check, and a healthy loop finishes a round before the next. If the
 * whole thread is blocked, the scrape fails and /healthz times out.
 */
export class LoopWatchdog implements Disposable {
  readonly #options: LoopWatchdogOptions;
  #lastRound: Instant;
  #task = 'starting';
  #checks = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LoopWatchdogOptions) {
    this.#options = options;
    this.#lastRound = options.clock.now();
  }

  /** When the last round ended. */
  get lastRound(): Instant {
    return this.#lastRound;
  }

  /** The task in which the loop is stuck; undefined while it runs. */
  get stuckAt(): string | undefined {
    return this.#checks > checksAllowed ? this.#task : undefined;
  }

  start(): void {
    this.#timer = setInterval(() => this.#check(), minute);
    // Must not keep the process alive after the loop has ended.
    this.#timer.unref();
  }

  /** The loop starts this task. */
  enter(task: string): void {
    this.#task = task;
  }

  /** The loop finished a round. */
  roundDone(): void {
    if (this.stuckAt !== undefined) this.#options.logger.log('loop_resumed');
    this.#checks = 0;
    this.#lastRound = this.#options.clock.now();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #check(): void {
    const { directory, logger } = this.#options;
    this.#checks += 1;
    if (this.#checks !== checksAllowed + 1) return;
    logger.log('loop_stuck', {
      task: this.#task,
      lastRound: formatInstant(this.#lastRound),
      remedy: `Find the file system that does not answer (stat -f ${directory}, and of the kubeconfigs), then: systemctl restart nodecertd`,
    });
  }
}

/** A round takes at most a minute, so three checks without a finished round are no coincidence. */
const checksAllowed = 3;
