import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { FakeClock } from '../support/fake-clock.ts';
import { makePair, present, secretOf } from './pairs.ts';
import { storeIn } from './store-bench.ts';

/**
 * A process that stores key pairs until it is killed. With a step it stores one, and kills
 * itself before or after one of its file system calls. Step 0 does not exist, so the calls can
 * be listed. It can also roll back a key pair instead.
 */
const [directory = '', step = ''] = process.argv.slice(2);
let calls = 0;

function dieAt(moment: number): void {
  calls += 1;
  if (calls === moment) process.kill(process.pid, 'SIGKILL');
}

type Call = (...args: unknown[]) => Promise<unknown>;

function wrap(holder: object, name: string, moment: number): void {
  const calls = holder as Record<string, Call>;
  const original = calls[name] as Call;
  calls[name] = async function wrapped(this: unknown, ...args: unknown[]): Promise<unknown> {
    dieAt(moment);
    if (moment === 0) process.stdout.write(`${name}\n`);
    const result = await original.apply(this, args);
    dieAt(moment);
    return result;
  };
}

if (step !== '') {
  const handle = await fs.open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as object;
  await handle.close();
  for (const name of ['writeFile', 'chmod', 'sync']) wrap(prototype, name, Number(step));
  for (const name of ['open', 'symlink', 'rename', 'unlink', 'link']) {
    wrap(fs, name, Number(step));
  }
  syncBuiltinESMExports();
}

const clock = new FakeClock(present + Number(process.env['SECONDS_LATER'] ?? 0) * 1000);
const store = storeIn(directory, { clock, config: { previousPairs: 1 } });
const pairs = await Promise.all([makePair(), makePair(), makePair()]);
process.stdout.write('ready\n');
const from = process.env['ROLL_BACK'];
if (from !== undefined) {
  const { kind } = await store.rollBack(from);
  process.exit(kind === 'rolled-back' ? 0 : 1);
}
const writes = step === '' ? Infinity : 1;
for (let count = 0; count < writes; count += 1) {
  const pair = pairs[count % pairs.length];
  if (pair !== undefined) await store.write(secretOf(pair));
  clock.jump(1000);
}
