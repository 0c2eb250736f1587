import { AgentError } from '../../src/core/errors.ts';
import type { Instant } from '../../src/core/instant.ts';
import type { Clock } from '../../src/sys/clock.ts';

interface Sleeper {
  readonly due: number;
  wake(): void;
}

/** A clock that a test moves, and that wakes its sleepers in the order in which they are due. */
export class FakeClock implements Clock {
  /** Elapsed time since the start, as timers count it. */
  #elapsed = 0;
  /** The wall clock at an elapsed time of zero. */
  #origin: Instant;
  readonly #sleepers = new Set<Sleeper>();

  constructor(now: Instant = Date.UTC(2026, 0, 1)) {
    this.#origin = now;
  }

  now(): Instant {
    return this.#origin + this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  /** The number of sleepers. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(new AgentError('ABORTED', 'the wait was canceled', { cause: signal.reason }));
      };
      const sleeper: Sleeper = {
        due: this.#elapsed + Math.max(ms, 0),
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      if (signal.aborted) {
        abort();
        return;
      }
      signal.addEventListener('abort', abort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /**
   * Lets time pass. Every sleeper that falls due runs at its own time, together with
   * the work that it starts.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    for (;;) {
      await settle();
      const next = [...this.#sleepers].sort((a, b) => a.due - b.due)[0];
      if (next === undefined || next.due > end) break;
      this.#elapsed = next.due;
      next.wake();
    }
    this.#elapsed = end;
    await settle();
  }

  /** Moves the wall clock only: sleepers keep waiting, as timers do. */
  jump(ms: number): void {
    this.#origin += ms;
  }
}

/** Runs every promise that is ready, and those that become ready. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
