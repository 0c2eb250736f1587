import type { Instant } from '../core/instant.ts';
import { formatInstant, minute } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

export interface LoopWatchdogOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where the loop looks, for the remedy. */
  readonly directory: string;
}

/**
 * Notices that the keeper's loop does not come round any more: it waits for the file
 * system at each round, and one that does not answer (a network file system whose
 * server is gone) holds such a call for ever. Nothing would fail then, and nothing be
 * tried.
 *
 * It counts its own looks and not the time: after a suspended night, a SIGSTOP or a
 * clock that was set, there is one look more, and a healthy loop comes round before
 * the next. A thread that is blocked altogether answers nobody, which is for those
 * outside to notice: the scrape fails, and /healthz times out.
 */
export class LoopWatchdog implements Disposable {
  readonly #options: LoopWatchdogOptions;
  #lastRound: Instant;
  #task = 'starting';
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LoopWatchdogOptions) {
    this.#options = options;
    this.#lastRound = options.clock.now();
  }

  /** When the loop last came round. */
  get lastRound(): Instant {
    return this.#lastRound;
  }

  /** What the loop hangs in; undefined while it does not. */
  get stuckAt(): string | undefined {
    return this.#looks > looksAllowed ? this.#task : undefined;
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), minute);
    // It watches over the loop, and does not outlive it.
    this.#timer.unref();
  }

  /** What the loop waits for next. */
  enter(task: string): void {
    this.#task = task;
  }

  /** The loop came round. */
  roundDone(): void {
    if (this.stuckAt !== undefined) this.#options.logger.log('loop_resumed');
    this.#looks = 0;
    this.#lastRound = this.#options.clock.now();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { directory, logger } = this.#options;
    this.#looks += 1;
    if (this.#looks !== looksAllowed + 1) return;
    logger.log('loop_stuck', {
      task: this.#task,
      lastRound: formatInstant(this.#lastRound),
      remedy: `see which file system does not answer (stat -f ${directory}, and the kubeconfigs'), then: systemctl restart nodecertd`,
    });
  }
}

/** The loop comes round every minute: three looks in vain are bad luck no more. */
const looksAllowed = 3;
