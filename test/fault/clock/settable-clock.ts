import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { findProgram } from '../../support/programs.ts';

/**
 * A wall clock that a test can set at any time, as date(1) sets a machine's clock. It
 * is a Clock in this process, and libfaketime makes it the clock of every process
 * started with `env`. Timers do not change, as on a real machine. File times do not
 * change, either, because libfaketime does not intercept libuv's calls for them.
 */
export class SettableClock implements Clock, Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'nodecertd-clock-'));
  /** The difference to the machine's clock. */
  #ahead = 0;

  constructor(ahead = 0) {
    this.#set(ahead);
  }

  get env(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: faketimeLibrary(),
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  now(): Instant {
    return Date.now() + this.#ahead;
  }

  elapsed(): number {
    return systemClock.elapsed();
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return systemClock.sleep(ms, signal);
  }

  set(moment: Instant): void {
    this.#set(moment - Date.now());
  }

  jump(ms: number): void {
    this.#set(this.#ahead + ms);
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
    sweepSharedMemory();
  }

  get #file(): string {
    return join(this.#directory, 'offset');
  }

  /** Renames the file into place, because processes read it whenever they read the clock. */
  #set(ahead: number): void {
    this.#ahead = Math.round(ahead);
    const seconds = (this.#ahead / second).toFixed(3);
    writeFileSync(`${this.#file}.new`, `${this.#ahead < 0 ? '' : '+'}${seconds}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}

/**
 * A killed process leaves libfaketime's shared memory behind. A later process with the
 * same PID would not start.
 */
function sweepSharedMemory(): void {
  for (const name of readdirSync('/dev/shm')) {
    const pid = /^(?:faketime_shm_|sem\.faketime_sem_)(\d+)$/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    rmSync(join('/dev/shm', name), { force: true });
  }
}

/** The folder of the library contains the architecture in its name. */
function faketimeLibrary(): string {
  const program = findProgram('faketime');
  if (program === undefined) throw new Error('libfaketime is missing: run make packages');
  const root = join(dirname(program), '../lib');
  const found = readdirSync(root, { recursive: true, encoding: 'utf8' }).find((path) =>
    path.endsWith('/faketime/libfaketimeMT.so.1'),
  );
  if (found === undefined) throw new Error(`there is no libfaketimeMT.so.1 below ${root}`);
  return join(root, found);
}
