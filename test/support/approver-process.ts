import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** `nodecertd approver` in a process of its own. */
export class ApproverProcess implements AsyncDisposable {
  readonly lines: Record<string, unknown>[] = [];
  readonly #process: ChildProcess;

  constructor(args: readonly string[]) {
    const standard = ['--metrics-address', '127.0.0.1:0'];
    this.#process = spawn(process.execPath, [main, 'approver', ...standard, ...args], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    const { stderr } = this.#process;
    if (stderr === null) throw new Error('standard error is a pipe');
    createInterface({ input: stderr }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Record<string, unknown>);
    });
  }

  logged(event: string): readonly Record<string, unknown>[] {
    return this.lines.filter((line) => line['event'] === event);
  }

  get leads(): boolean {
    const last = this.lines.findLast(({ event }) =>
      /^approver_(leading|standby)$/.test(String(event)),
    );
    return last?.['event'] === 'approver_leading';
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Resolves with the exit code once the process has ended. */
  async ended(): Promise<number | null> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      await once(this.#process, 'exit');
    }
    return this.#process.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }
}
