import nodeFs from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

type Call = (...args: unknown[]) => Promise<unknown>;

const always = (): boolean => true;

/**
 * Kills this process before one of its calls that change the file system, counted from 1. With
 * step 0, it prints the calls instead.
 */
export async function killAtStep(step: number): Promise<void> {
  let calls = 0;
  const before = (name: string): void => {
    calls += 1;
    if (calls === step) process.kill(process.pid, 'SIGKILL');
    if (step === 0) process.stdout.write(`${name}\n`);
  };
  const wrap = (holder: object, name: string, isChange: (...args: unknown[]) => boolean): void => {
    const functions = holder as Record<string, Call>;
    const original = functions[name] as Call;
    functions[name] = async function wrapped(this: unknown, ...args: unknown[]): Promise<unknown> {
      if (isChange(...args)) before(name);
      return original.apply(this, args);
    };
  };
  const handle = await fs.open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as object;
  await handle.close();
  for (const name of ['writeFile', 'chmod', 'sync']) wrap(prototype, name, always);
  for (const name of ['mkdir', 'rename', 'unlink', 'chown', 'rm']) wrap(fs, name, always);
  wrap(fs, 'open', (_, flags) => flags === 'wx');
  const { renameSync } = nodeFs;
  nodeFs.renameSync = (...args) => {
    before('rename');
    renameSync(...args);
  };
  syncBuiltinESMExports();
}
