import { AgentError } from '../core/errors.ts';
import type { Clock } from '../sys/clock.ts';

interface DeadlineOptions {
  readonly clock: Clock;
  readonly ms: number;
  readonly signal: AbortSignal;
  /** The name of the work, for messages. */
  readonly what: string;
}

/**
 * A signal that fires with the caller's signal, or with API_TIMEOUT after the given time.
 * Disposal stops the timer. This class replaces AbortSignal.timeout, which cannot use the
 * injected clock.
 */
export class Deadline implements Disposable {
  readonly #options: DeadlineOptions;
  readonly #controller = new AbortController();
  #timer = new AbortController();
  #ms = 0;
  /** On the monotonic clock. */
  #end = 0;

  constructor(options: DeadlineOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', this.#abort, { once: true });
    if (options.signal.aborted) this.#abort();
    this.#start(options.ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Moves the deadline to this many milliseconds from now. Cheap if that is later, as after each event of a watch. */
  restart(ms: number): void {
    const end = this.#options.clock.elapsed() + ms;
    if (end >= this.#end) {
      this.#ms = ms;
      this.#end = end;
      return;
    }
    this.#timer.abort(finished);
    this.#timer = new AbortController();
    this.#start(ms);
  }

  #start(ms: number): void {
    this.#ms = ms;
    this.#end = this.#options.clock.elapsed() + ms;
    void this.#run(ms, this.#timer.signal);
  }

  [Symbol.dispose](): void {
    this.#options.signal.removeEventListener('abort', this.#abort);
    this.#timer.abort(finished);
  }

  readonly #abort = (): void => {
    this.#controller.abort(aborted(this.#options.what, this.#options.signal));
  };

  async #run(ms: number, signal: AbortSignal): Promise<void> {
    const { clock, what } = this.#options;
    try {
      for (let left = ms; left > 0; left = this.#end - clock.elapsed()) {
        await clock.sleep(left, signal);
      }
    } catch {
      return; // The work finished before the deadline.
    }
    this.#controller.abort(timeout(what, this.#ms));
  }
}

/** Without a reason, each request would create a DOMException with a stack. */
const finished = 'finished';

export function aborted(what: string, signal: AbortSignal): AgentError {
  return new AgentError('ABORTED', `${what} was canceled`, { cause: signal.reason });
}

function timeout(what: string, ms: number): AgentError {
  return new AgentError('API_TIMEOUT', `${what}: no complete response within ${ms / 1000} s`, {
    remedy:
      'Check the load of the API server, and the network between the API server and this node',
  });
}
