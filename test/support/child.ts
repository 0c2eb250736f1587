import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { scaled } from './machine-speed.ts';

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Standard output and error are appended to it. */
  readonly logFile: string;
}

/** A server program under test, which logs to a file and ends with this process. */
export class Child implements AsyncDisposable {
  readonly #options: ChildOptions;
  readonly #process: ChildProcess;

  constructor(options: ChildOptions) {
    this.#options = options;
    const log = openSync(options.logFile, 'a');
    this.#process = spawn(options.command, options.args, { stdio: ['ignore', log, log] });
    closeSync(log);
    killWithThisProcess(this.#process);
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw this.failure('could not be started');
    return this.#process.pid;
  }

  get running(): boolean {
    return (
      this.#process.pid !== undefined &&
      this.#process.exitCode === null &&
      this.#process.signalCode === null
    );
  }

  /** Ends the process and waits, so that its port is free. Kills it after `graceMs`. */
  async stop(graceMs = scaled(2_000)): Promise<void> {
    if (!this.running) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    const grace = new AbortController();
    const timer = delay(graceMs, undefined, { signal: grace.signal }).then(
      () => this.#process.kill('SIGKILL'),
      () => undefined,
    );
    await exited;
    grace.abort();
    await timer;
  }

  /** An error with the end of the program's log. */
  failure(what: string): Error {
    const tail = readFileSync(this.#options.logFile, 'utf8').trimEnd().split('\n').slice(-15);
    return new Error(`${this.#options.name} ${what}; its log ends with:\n${tail.join('\n')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const running = new Set<ChildProcess>();

/** An interrupted test disposes of nothing, and its servers must not outlive it. */
function killWithThisProcess(child: ChildProcess): void {
  if (running.size === 0) {
    // Kills first, because other exit listeners remove the files of these processes.
    process.prependOnceListener('exit', killAll);
    process.once('SIGTERM', exitAfterSignal);
    process.once('SIGINT', exitAfterSignal);
  }
  running.add(child);
  child.once('exit', () => {
    forget(child);
  });
  // Without a listener, a program that cannot be started would end this process.
  child.once('error', () => {
    forget(child);
  });
}

function forget(child: ChildProcess): void {
  running.delete(child);
  if (running.size > 0) return;
  process.removeListener('exit', killAll);
  process.removeListener('SIGTERM', exitAfterSignal);
  process.removeListener('SIGINT', exitAfterSignal);
}

function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

function exitAfterSignal(): void {
  process.exit(1);
}
