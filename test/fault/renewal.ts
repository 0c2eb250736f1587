import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExternalTree } from '../pki/renewal/external-tree.ts';
import type { Snapshot } from '../pki/renewal/renewal-checks.ts';
import { filesOf } from '../pki/renewal/renewal-checks.ts';
import { copyTo } from '../pki/renewal/renewal-tree.ts';
import type { EndedCommand, KilledCommand, Scene } from './crash/command-series.ts';
import { killAtEachCall } from './crash/command-series.ts';
import type { AttachRequest } from './crash/injection.ts';
import type { FaultFamily } from './family.ts';
import type { CertsCommand } from './renewal/commands.ts';
import { commands } from './renewal/commands.ts';

/**
 * Kills a command of `certs` that changes files at each of its system calls on files, or makes the
 * call fail, one call in each run. The next run and a rollback both have to lead to matching files.
 */
export const renewal: FaultFamily = {
  name: 'renewal',
  needs: ['strace'],
  async *run(options) {
    for (const command of commands) {
      const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-renewal-'));
      try {
        yield* killAtEachCall(killed(command, await command.make(root)), options);
      } finally {
        await rm(root, { recursive: true, force: true });
      }
    }
  },
};

interface NodeCopy extends Scene {
  readonly tree: ExternalTree;
  /** The files before the command was prepared. */
  readonly previous: Snapshot;
}

function killed(command: CertsCommand, model: ExternalTree): KilledCommand<NodeCopy> {
  return {
    name: command.name,
    role: 'certs',
    open: async () => copyOf(model, command),
    args: ({ tree }) => [...command.args(tree), '--kubernetes-dir', tree.kubernetes],
    mainPaths: ({ tree }) => mainPaths(tree),
    calls: [
      ['pool', 'fsync'],
      ['pool', 'openat'],
      ['main', 'openat'],
    ],
    problemOf,
    requireRecovery: async ({ tree, previous }) => command.requireRecovery(tree, previous),
  };
}

async function copyOf(model: ExternalTree, command: CertsCommand): Promise<NodeCopy> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-renewal-'));
  const tree = { ...(await copyTo(root, model)), csrs: join(root, 'csrs') };
  const previous = await filesOf(tree);
  await command.prepare?.(tree);
  return {
    root,
    tree,
    previous,
    [Symbol.asyncDispose]: async () => rm(root, { recursive: true, force: true }),
  };
}

/** The files that the main thread locks, opens and replaces. */
function mainPaths({
  kubernetes,
  certificates,
}: ExternalTree): Pick<AttachRequest, 'paths' | 'replaced'> {
  const pair = ['apiserver.crt', 'apiserver.key'];
  return {
    paths: [
      join(kubernetes, '.nodecertd/.nodecertd.lock'),
      join(kubernetes, 'admin.conf'),
      ...pair.map((name) => join(certificates, name)),
    ],
    replaced: [
      // The temporary file of a kubeconfig has this ending.
      { directory: kubernetes, name: 'admin.conf~' },
      ...pair.map((name) => ({ directory: certificates, name })),
    ],
  };
}

function problemOf({ code, stdout, stderr }: EndedCommand): string {
  // Exit code 3 is for the endpoints that were not checked.
  if (code === 0 || code === 3) return '';
  return `${stderr}${/^PROBLEMS\n(.*)$/m.exec(stdout)?.[1] ?? ''}`;
}
