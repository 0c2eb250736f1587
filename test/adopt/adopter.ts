import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { adopt, revert } from '../../src/adopt/adoption.ts';
import { Tree } from '../../src/adopt/tree.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { present } from '../store/pairs.ts';
import { nodeConfig } from './kubeadm-node.ts';

/**
 * A process that adopts, or reverts, and dies before one of its calls that change the
 * file system; step 0 never comes, so that the calls themselves can be looked at.
 */
const [root = '', action = '', step = '0'] = process.argv.slice(2);
let calls = 0;

type Call = (...args: unknown[]) => Promise<unknown>;

function wrap(holder: object, name: string, isChange: (...args: unknown[]) => boolean): void {
  const functions = holder as Record<string, Call>;
  const original = functions[name] as Call;
  functions[name] = async function wrapped(this: unknown, ...args: unknown[]): Promise<unknown> {
    if (isChange(...args)) {
      calls += 1;
      if (calls === Number(step)) process.kill(process.pid, 'SIGKILL');
      if (step === '0') process.stdout.write(`${name}\n`);
    }
    return original.apply(this, args);
  };
}

const handle = await fs.open(import.meta.filename);
const prototype = Object.getPrototypeOf(handle) as object;
await handle.close();
const always = (): boolean => true;
for (const name of ['writeFile', 'chmod', 'sync']) wrap(prototype, name, always);
for (const name of ['mkdir', 'rename', 'unlink', 'chown', 'rm']) wrap(fs, name, always);
wrap(fs, 'open', (_, flags) => flags === 'wx');
syncBuiltinESMExports();

const request = {
  tree: new Tree(root),
  config: nodeConfig,
  hostName: 'n1',
  clock: new FakeClock(present),
  version: '0.1.0',
  signal: new AbortController().signal,
};
const { plan } = await (action === 'adopt' ? adopt(request) : revert(request, { force: false }));
if (plan.obstacles.length > 0) throw new Error(JSON.stringify(plan.obstacles));
