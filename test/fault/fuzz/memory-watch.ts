import type { MemoryReport } from './order.ts';

const samples = 24;
const MiB = 1024 * 1024;

/** Samples the live heap, including buffers, during a run. Needs --expose-gc. */
export class MemoryWatch {
  readonly #every: number;
  readonly #levels: number[] = [];

  constructor(count: number) {
    this.#every = Math.max(1, Math.floor(count / samples));
  }

  note(done: number): void {
    if (done % this.#every !== this.#every - 1) return;
    // Runs twice, because the first run frees some memory, especially buffers, only in
    // the background.
    globalThis.gc?.();
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    this.#levels.push((heapUsed + arrayBuffers) / MiB);
  }

  report(): MemoryReport {
    // Code is loaded and compiled in the first half.
    const settled = this.#levels.slice(Math.floor(this.#levels.length / 2));
    return {
      peakMiB: process.resourceUsage().maxRSS / 1024,
      growthMiB: slope(settled) * settled.length,
    };
  }
}

/** The slope of a least-squares line, per sample. */
export function slope(levels: readonly number[]): number {
  if (levels.length < 2) return 0;
  const middle = (levels.length - 1) / 2;
  const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
  const [above, below] = levels.reduce(
    ([up, down], level, index) => [
      up + (index - middle) * (level - mean),
      down + (index - middle) ** 2,
    ],
    [0, 0],
  );
  return above / below;
}
