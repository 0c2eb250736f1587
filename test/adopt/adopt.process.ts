import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { adopt, revert } from '../../src/adopt/adoption.ts';
import { Tree } from '../../src/sys/tree.ts';
import { dropIns, requestFor, startOf } from './kubeadm-node.ts';

/**
 * A process that adopts or reverts, and is killed before one of the calls that change the
 * file system. With step 0 it is not killed and prints the calls.
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

const request = requestFor(new Tree(root), { kubelet: startOf(`--config-dir=${dropIns}`) });
const { plan } = await (action === 'adopt' ? adopt(request) : revert(request, { force: false }));
if (plan.obstacles.length > 0) throw new Error(JSON.stringify(plan.obstacles));
