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
 * Detects that the keeper's loop is stuck. Each round waits for file systems. A file system that
 * does not respond (such as a network file system without its server) blocks the round forever,
 * without a failure or a retry.
 *
 * Counts its own checks, not time: a suspend, a SIGSTOP or a clock change adds only one check,
 * and a healthy loop finishes a round before the next check. If the whole thread is blocked,
 * scrapes fail and /healthz times out.
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
      remedy: `Find the file system that does not respond (stat -f ${directory}, and the same for the kubeconfigs), then run: systemctl restart nodecertd`,
    });
  }
}

/**
 * A round takes at most a minute, so a loop that finishes no round during three checks is stuck.
 */
const checksAllowed = 3;
