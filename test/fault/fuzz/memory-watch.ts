import type { MemoryReport } from './order.ts';

const samples = 24;
const MiB = 1024 * 1024;

/** Samples the live heap, buffers included, as a run goes on. Needs --expose-gc. */
export class MemoryWatch {
  readonly #every: number;
  readonly #levels: number[] = [];

  constructor(count: number) {
    this.#every = Math.max(1, Math.floor(count / samples));
  }

  note(done: number): void {
    if (done % this.#every !== this.#every - 1) return;
    // Twice: what the first one finds dead, buffers above all, may be freed beside it.
    globalThis.gc?.();
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    this.#levels.push((heapUsed + arrayBuffers) / MiB);
  }

  report(): MemoryReport {
    // What is loaded and compiled on the way belongs to the first half.
    const settled = this.#levels.slice(Math.floor(this.#levels.length / 2));
    return {
      peakMiB: process.resourceUsage().maxRSS / 1024,
      growthMiB: slope(settled) * settled.length,
    };
  }
}

/** Least squares, per sample. */
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
