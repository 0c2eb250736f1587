import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/**
 * The names of temporary files contain the time in nanoseconds, which is a plain counter here, and the
 * ID of the process, so that strace can know them.
 */
let moment = 0n;

export function countFrom(start: number): void {
  moment = BigInt(start);
}

/** Each run of a command in this process then makes the same calls. */
export function prepareProcess(): void {
  process.hrtime.bigint = () => (moment += 1n);
  Object.defineProperty(process, 'pid', { value: 1 });
  hideProcesses();
}

/** A step reads three files of each process of the machine, which may have a control plane. */
function hideProcesses(): void {
  const { readdir } = fs;
  const hiding = async (...args: unknown[]): Promise<unknown> =>
    args[0] === '/proc' ? [] : Reflect.apply(readdir, fs, args);
  fs.readdir = hiding as typeof readdir;
  syncBuiltinESMExports();
}
