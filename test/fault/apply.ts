import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolloverDirectory } from '../../src/pki/renewal/rollover-runs.ts';
import type { AnyNodeStepName } from '../../src/trust/control-plane/node-step.ts';
import { makeKubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { writeManifests, writeNextAuthority } from '../trust/control-plane/rollover-tree.ts';
import type { Snapshot } from './apply/step.ts';
import { applyStep, directoriesIn, filesIn, requireRecovery, requireReturn } from './apply/step.ts';
import { Runtime } from './apply/runtime.ts';
import type { KilledCommand, Scene } from './crash/command-series.ts';
import { killAtEachCall } from './crash/command-series.ts';
import type { AttachRequest } from './crash/injection.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';

/**
 * Kills a step of a CA rollover on a control-plane node, or its undo, at each of its system calls on
 * files, or makes the call fail, one call in each run. The step and its undo then both have to lead
 * to the same files as without a fault. The short form has only one step and its undo.
 */
export const apply: FaultFamily = {
  name: 'apply',
  needs: ['strace'],
  async *run(options) {
    const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-apply-'));
    try {
      let model = join(root, 'create');
      await makeNode(model);
      for (const step of ['trust', 'switch', 'finish'] as const) {
        const done = join(root, step);
        await copyNode(model, done);
        await applyStep(done, step);
        const paths = [...(await filesIn(done)).keys()];
        const actions = options.thorough || step === 'switch' ? (['apply', 'undo'] as const) : [];
        for (const action of actions) {
          yield* killAtEachCall(killed(action, { model, step, paths }), options);
        }
        if (step === 'switch') yield* returnFrom(done, root, options);
        model = done;
      }
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  },
};

/** `abort` after `switch`, and then again; the short form has only the first one. */
async function* returnFrom(
  switched: string,
  root: string,
  options: FaultOptions,
): AsyncGenerator<FaultRow> {
  let model = switched;
  for (const stage of ['switch', 'trust'] as const) {
    const done = join(root, `abort-${stage}`);
    await copyNode(model, done);
    await applyStep(done, 'abort');
    const paths = [...(await filesIn(done)).keys()];
    const planned: Planned = { model, step: 'abort', stage, paths };
    if (options.thorough || stage === 'switch')
      yield* killAtEachCall(killed('apply', planned), options);
    model = done;
  }
}

/** A node after the step `create`. */
async function makeNode(root: string): Promise<void> {
  const tree = await makeKubeadmTree(root);
  await writeManifests(tree);
  await writeNextAuthority(tree, tree.authorities.ca);
  new Runtime(root).boot();
}

interface Planned {
  /** A node before the step. */
  readonly model: string;
  readonly step: AnyNodeStepName;
  /** The stage from which `abort` goes back. */
  readonly stage?: 'trust' | 'switch';
  /** The files after the step. */
  readonly paths: readonly string[];
}

interface NodeScene extends Scene {
  readonly node: string;
  /** The files before the step. */
  readonly before: Snapshot;
}

async function openScene(action: 'apply' | 'undo', { model, step }: Planned): Promise<NodeScene> {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-apply-'));
  const node = join(root, 'node');
  await copyNode(model, node);
  const before = await filesIn(node);
  if (action === 'undo') await applyStep(node, step);
  return {
    root,
    node,
    before,
    [Symbol.asyncDispose]: async () => rm(root, { recursive: true, force: true }),
  };
}

/** Manifests have absolute paths, as the copies of earlier steps have. */
async function copyNode(model: string, node: string): Promise<void> {
  const { kubernetes } = directoriesIn(node);
  await cp(directoriesIn(model).kubernetes, kubernetes, { recursive: true });
  await rm(rolloverDirectory({ kubernetes }), { recursive: true, force: true });
  const manifests = join(kubernetes, 'manifests');
  for (const name of await readdir(manifests)) {
    const text = await readFile(join(manifests, name), 'utf8');
    await writeFile(join(manifests, name), text.replaceAll(model, node));
  }
  new Runtime(node).boot();
}

/** The files that the main thread opens and replaces. The runtime opens the manifests, too. */
function mainPaths(node: string): Pick<AttachRequest, 'paths' | 'replaced'> {
  const { kubernetes, certificates } = directoriesIn(node);
  const kubeconfigs = ['controller-manager', 'scheduler', 'super-admin', 'admin'];
  const pairs = ['ca', 'ca-signing', 'ca-previous', 'apiserver', 'apiserver-kubelet-client'];
  const files = [...pairs.flatMap((name) => [`${name}.crt`, `${name}.key`]), 'ca-bundle.crt'];
  const manifests = ['kube-controller-manager.yaml', 'kube-scheduler.yaml'];
  return {
    paths: files.map((name) => join(certificates, name)),
    replaced: [
      // The temporary file of a kubeconfig has this ending.
      ...kubeconfigs.map((name) => ({ directory: kubernetes, name: `${name}.conf~` })),
      ...files.map((name) => ({ directory: certificates, name })),
      ...manifests.map((name) => ({ directory: join(kubernetes, 'manifests'), name })),
    ],
  };
}

function killed(action: 'apply' | 'undo', planned: Planned): KilledCommand<NodeScene> {
  const { step, stage, paths } = planned;
  return {
    name: action === 'apply' ? `ca-rollover apply ${step}` : `ca-rollover apply ${step} --undo`,
    role: 'ca-rollover',
    program: join(import.meta.dirname, 'apply/step.process.ts'),
    open: async () => openScene(action, planned),
    args: ({ node }) => [action, step, node],
    mainPaths: ({ node }) => mainPaths(node),
    calls: [
      ['pool', 'fsync'],
      ['pool', 'openat'],
      ['main', 'rename'],
    ],
    problemOf: ({ code, stderr }) => (code === 0 ? '' : stderr),
    requireRecovery: async ({ node, before }) =>
      stage === undefined
        ? requireRecovery(node, step, { before, paths })
        : requireReturn(node, stage, paths),
  };
}
