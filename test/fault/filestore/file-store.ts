import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { goProgram } from '../../support/go-program.ts';

/** The result of client-go's FileStore for a folder. */
export interface FileStoreAnswer {
  readonly serial?: string;
  /** Unix milliseconds. */
  readonly notAfter?: number;
  readonly error?: string;
}

/** client-go's FileStore in a process that answers for one folder after the other. */
export class FileStore implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: Interface;
  #turn: Promise<unknown> = Promise.resolve();

  constructor() {
    // The output of klog on standard error is not needed.
    this.#child = spawn(goProgram('fault-filestore'), {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#answers = createInterface({ input: this.#child.stdout });
  }

  async current(directory: string, name: string): Promise<FileStoreAnswer> {
    const asked = this.#turn.then(async () => {
      const answered = once(this.#answers, 'line');
      this.#child.stdin.write(`${JSON.stringify({ directory, name })}\n`);
      const [line] = (await answered) as [string];
      return JSON.parse(line) as FileStoreAnswer;
    });
    this.#turn = asked;
    return asked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.stdin.end();
    await exited;
  }
}
