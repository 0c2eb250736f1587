import { readFileSync } from 'node:fs';

/**
 * Records the largest resident set of any enroller of this agent in bytes (VmHWM of the
 * kernel).
 */
export class EnrollerMemory implements Disposable {
  peak = 0;
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#look(), 20);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const child of read(`/proc/${this.#pid}/task/${this.#pid}/children`).split(' ')) {
      const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(child && read(`/proc/${child}/status`))?.[1];
      this.peak = Math.max(this.peak, Number(kilobytes ?? 0) * 1024);
    }
  }
}

/** Empty if the process has just ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
