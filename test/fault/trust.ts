import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { externalFile } from '../../src/core/trust.ts';
import type { Failure } from '../../src/core/errors.ts';
import type { ApiServer } from '../kube/support/api-server.ts';
import type { TestAuthority } from '../trust/node/authority.ts';
import { makeTestAuthority } from '../trust/node/authority.ts';
import { nodeFilesAt, writeNodeFiles } from '../trust/node/node-files.ts';
import type { EndedCommand, KilledCommand, Scene } from './crash/command-series.ts';
import { killAtEachCall } from './crash/command-series.ts';
import type { AttachRequest } from './crash/injection.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';
import type { Contents } from './trust/change.ts';
import {
  addAuthority,
  newAuthority,
  oldSubject,
  requireRecovery,
  snapshotOf,
} from './trust/change.ts';
import { requireSync, startServer, syncArguments, writeConfiguration } from './trust/sync.ts';
import { changeUnderReader } from './trust/under-reader.ts';

/**
 * Kills a change of the CAs of a node, or its rollback, at each of its system calls on files, or
 * makes the call fail, one call in each run. Every moment has to leave whole files with the old
 * CAs, and the next run has to change all places or none.
 */
export const trust: FaultFamily = {
  name: 'trust',
  needs: ['strace'],
  async *run(options) {
    const [old, next, third] = [oldSubject, 'CN=new', 'CN=third'].map((name) =>
      makeTestAuthority({ subject: `/${name}` }),
    ) as [TestAuthority, TestAuthority, TestAuthority];
    yield await underReader([old, next, third], options);
    for (const action of ['change', 'rollback'] as const) {
      yield* killAtEachCall(killed(action, { old: old.pem, next: next.pem }), options);
    }
    await using server = await startServer();
    yield* killAtEachCall(killedSync(server, next.pem), options);
  },
};

async function underReader(
  [old, ...others]: readonly [TestAuthority, ...TestAuthority[]],
  { thorough, signal, progress }: FaultOptions,
): Promise<FaultRow> {
  const count = thorough ? 200 : 10;
  const fault = `a busy reader of ${count} changes of trust`;
  progress(fault);
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-trust-'));
  try {
    const { reads, faults } = await changeUnderReader(root, {
      old: old.authority,
      others: others.map(({ authority }) => authority),
      count,
      signal,
    });
    if (faults.length > 0) throw new Error(`${faults.length} reads failed: ${faults[0]}`);
    return { fault, tried: reads, lost: 0, seen: [] };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

interface Pems {
  readonly old: string;
  readonly next: string;
  /** The API server that the kubeconfig names. */
  readonly server?: string;
}

interface NodeScene extends Scene {
  readonly contents: Contents;
}

const titles = { change: 'a change of trust', rollback: 'its rollback' } as const;

function killed(action: keyof typeof titles, pems: Pems): KilledCommand<NodeScene> {
  return {
    name: titles[action],
    role: 'trust',
    program: join(import.meta.dirname, 'trust/change.process.ts'),
    errors: ['ENOSPC', 'EIO', 'EROFS', 'EACCES', 'EMFILE'],
    open: async () => openScene(action, pems),
    args: ({ root }) => [action, join(root, 'node')],
    mainPaths: ({ root }) => mainPaths(join(root, 'node')),
    calls: [
      ['pool', 'fsync'],
      ['pool', 'openat'],
      ['main', 'openat'],
      ['main', 'rename'],
    ],
    problemOf,
    requireRecovery: async ({ root, contents }) => requireRecovery(join(root, 'node'), contents),
  };
}

/** The whole command, with a source and an API server. */
function killedSync({ authority, url }: ApiServer, next: string): KilledCommand<NodeScene> {
  const pems = { old: authority.pem, next, server: url };
  const { mainPaths, calls, requireRecovery } = killed('change', pems);
  return {
    name: 'trust sync',
    role: 'trust',
    open: async () => {
      const scene = await openScene('change', pems);
      await writeConfiguration(join(scene.root, 'node'), pems.old + next);
      return scene;
    },
    args: ({ root }) => syncArguments(join(root, 'node')),
    mainPaths,
    calls,
    problemOf: ({ code, stdout, stderr }) => (code === 0 ? '' : failureIn(stdout) + stderr),
    requireRecovery: async (scene) => {
      await requireRecovery(scene);
      await requireSync(join(scene.root, 'node'));
    },
  };
}

function failureIn(stdout: string): string {
  const { failure } = (stdout === '' ? {} : JSON.parse(stdout)) as { readonly failure?: Failure };
  return failure === undefined ? '' : `${failure.message} (${failure.code})`;
}

async function openScene(
  action: keyof typeof titles,
  { old, next, server }: Pems,
): Promise<NodeScene> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-trust-'));
  const node = join(root, 'node');
  await mkdir(node);
  await writeNodeFiles(node, old, server);
  await writeFile(join(node, newAuthority), next);
  const before = await snapshotOf(node);
  await addAuthority(node);
  const after = await snapshotOf(node);
  if (action === 'change') {
    await rm(node, { recursive: true });
    await mkdir(node);
    await writeNodeFiles(node, old, server);
    await writeFile(join(node, newAuthority), next);
  }
  return {
    root,
    contents: { before, after },
    [Symbol.asyncDispose]: async () => rm(root, { recursive: true, force: true }),
  };
}

/** The files that the main thread opens and replaces. */
function mainPaths(node: string): Pick<AttachRequest, 'paths' | 'replaced'> {
  const { kubeconfig, caFile, certificateDirectory } = nodeFilesAt(node);
  const moved = join(certificateDirectory, externalFile);
  return {
    paths: [kubeconfig, caFile, moved],
    replaced: [
      // The temporary file of a kubeconfig has this ending.
      { directory: node, name: 'kubelet.conf~' },
      ...[caFile, moved].map((path) => ({ directory: certificateDirectory, name: basename(path) })),
    ],
  };
}

function problemOf({ code, stderr }: EndedCommand): string {
  return code === 0 ? '' : stderr;
}
