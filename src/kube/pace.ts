import { hour, minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { clamp } from '../core/schedule.ts';

/** What came of one request, or of one watch, while an object is followed. */
export interface Step {
  readonly began: Instant;
  readonly now: Instant;
  /** A later version of the object, or of the collection, is known. */
  readonly progress: boolean;
  /** It failed, or a watch ended sooner than was asked: others probably met the same at this moment. */
  readonly disturbed: boolean;
  /** What the server asked for with Retry-After, in milliseconds. */
  readonly asked: number;
}

/**
 * How often one followed object is asked for. Whoever has waited long can wait
 * somewhat longer: the delays grow with the time that has passed, so that a request
 * decided within seconds is answered within seconds, and a fleet whose requests
 * wait for days neither loads the API server meanwhile nor comes back as one when
 * it restarts. No delay is spread more narrowly than it is long: of N nodes disturbed
 * together, at most N in that time ask in any unit of it.
 */
export class Pace {
  readonly #start: Instant;
  readonly #random: () => number;
  #failures = 0;
  /** How long had been waited when all was last well: an outage must not lend its length to the wait. */
  #waited = 0;
  #disturbed = false;

  constructor(start: Instant, random: () => number) {
    this.#start = start;
    this.#random = random;
  }

  /**
   * When the server is to end the next watch: what it would draw by itself. Shorter
   * watches are how others find out that one is dead; here the look behind it is.
   */
  watchSeconds(): number {
    return Math.round((shortestWatch * (1 + this.#random())) / second);
  }

  /** Until the next look behind the watch. */
  pollDelay(now: Instant): number {
    return clamp(this.#share(now - this.#start), minPoll, maxPoll) * this.#spread();
  }

  /** Until the next step of the one that follows: a watch, or a read where a watch cannot begin. */
  delayAfter(step: Step): number {
    if (step.progress || step.now - step.began >= steady) this.#failures = 0;
    if (!step.disturbed || !this.#disturbed) this.#waited = step.now - this.#start;
    this.#disturbed = step.disturbed;
    const first = this.#failures === 0;
    this.#failures += 1;
    return Math.max(this.#delay(step, first), step.asked * (1 + this.#random()));
  }

  #delay({ disturbed }: Step, first: boolean): number {
    const doubled = Math.min(shortest * 2 ** (this.#failures - 1), longestDoubled);
    if (first && !disturbed) return doubled * this.#spread();
    const longest = disturbed ? maxReturn : maxDelay;
    const scale = Math.max(doubled, Math.min(this.#share(this.#waited), longest));
    // The first moment after a disturbance is as good as any: some nodes learn of a decision at once.
    return scale * (first ? this.#random() : this.#spread());
  }

  #share(waited: number): number {
    return Math.max(waited, 0) / 2;
  }

  #spread(): number {
    return 0.5 + this.#random();
  }
}

/** A watch that held so long was healthy: the next one need not be waited for. */
const steady = 30 * second;
const shortest = second / 4;
const longestDoubled = 30 * second;
/**
 * 100,000 nodes that lost their watches together come back at 170 a second. A decision
 * made just after that is noticed a quarter of an hour late at worst.
 */
const maxReturn = 10 * minute;
/** For what was asked and answered, and is not there. */
const maxDelay = 30 * minute;
/** --min-request-timeout of kube-apiserver. */
const shortestWatch = 30 * minute;
const minPoll = 5 * minute;
const maxPoll = hour;
