import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

export interface ApproverProcessOptions {
  /** A command that runs the approver as its last arguments say. */
  readonly wrapper?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** `nodecertd approver` in a process of its own. */
export class ApproverProcess implements AsyncDisposable {
  readonly lines: Record<string, unknown>[] = [];
  readonly #process: ChildProcess;

  constructor(
    args: readonly string[],
    { wrapper = [], environment = {} }: ApproverProcessOptions = {},
  ) {
    const standard = ['--metrics-address', '127.0.0.1:0'];
    // As in nodecertd.sh: the approver calls the C library, of which Node would warn on standard error.
    const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
    const [command, ...rest] = [...wrapper, ...node, main, 'approver', ...standard];
    this.#process = spawn(command ?? '', [...rest, ...args], {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: { ...process.env, ...environment },
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
