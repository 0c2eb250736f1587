import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { cp, glob, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, hasCode, toError } from '../../../src/core/errors.ts';
import { without } from '../../../src/core/without.ts';
import { kubeconfigCertificate } from '../../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../../src/kube/kubeconfig-document.ts';
import { findLocalNode } from '../../../src/pki/inventory/local-inventory.ts';
import type { KubernetesDirectories } from '../../../src/pki/layout.ts';
import { readCertificates } from '../../../src/pki/renewal/certificate-chain.ts';
import { lock } from '../../../src/pki/renewal/renewal.ts';
import { restartsOf } from '../../../src/pki/renewal/restart.ts';
import { rolloverDirectory } from '../../../src/pki/renewal/rollover-runs.ts';
import { completeRuns } from '../../../src/store/run-recovery.ts';
import { Tree } from '../../../src/sys/tree.ts';
import { readRolloverNode } from '../../../src/trust/control-plane/node-files.ts';
import type { AnyNodeStepName } from '../../../src/trust/control-plane/node-step.ts';
import { planNodeStep } from '../../../src/trust/control-plane/node-step.ts';
import { latestStep } from '../../../src/trust/control-plane/stage.ts';
import type { StepEnvironment } from '../../../src/trust/control-plane/task-run.ts';
import { runStep } from '../../../src/trust/control-plane/task-run.ts';
import type { CaName, FileTask, Stage } from '../../../src/trust/control-plane/task.ts';
import { isRestoredLast, undoStep } from '../../../src/trust/control-plane/undo.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import { clockOf, Runtime } from './runtime.ts';

/** A step on a control-plane node in a folder, without the parts that need a cluster. */

export function directoriesIn(root: string): KubernetesDirectories {
  const kubernetes = join(root, 'etc/kubernetes');
  return { kubernetes, certificates: join(kubernetes, 'pki') };
}

export type Snapshot = Awaited<ReturnType<typeof snapshot>>;

/** Without the copies of earlier runs. */
export async function filesIn(root: string): Promise<Snapshot> {
  const files = await snapshot(directoriesIn(root).kubernetes, '/.nodecertd/');
  return new Map([...files].filter(([path]) => !path.startsWith('/.nodecertd-rollover/')));
}

/** A step of the rollover of one CA. */
export interface StepOfCa {
  readonly ca: CaName;
  readonly step: AnyNodeStepName;
}

/**
 * Called between two parts of a step: while it is planned, and before each task.
 * @param tasks the tasks, at the end of the plan
 */
export type OnPart = (tasks?: readonly FileTask[]) => Promise<void>;

/** The caller has locked the directory, if others could use it. @throws AgentError the failure of a task */
export async function applyStep(
  root: string,
  done: StepOfCa,
  onPart: OnPart = async () => undefined,
): Promise<void> {
  await onPart();
  const environment = await environmentOf(root, done);
  await completeRuns(environment);
  await onPart();
  const node = await readRolloverNode(environment.places);
  // After the step `finish`, the node has no file of a rollover.
  if (node === undefined) return;
  await onPart();
  const plan = await planNodeStep(done.step, { ...environment, node });
  const [obstacle] = plan.obstacles;
  if (obstacle !== undefined) throw new AgentError('TRUST_REFUSED', obstacle.message);
  const tasks = [...plan.tasks, ...plan.lastTasks].map(withoutServers);
  await onPart(tasks);
  await runTasks(tasks, { ...environment, requireLock: onPart });
}

/**
 * Prepares the part of a step behind its plan, with the plan of an earlier run from the same files.
 * @returns does that part
 */
export async function continuation(
  root: string,
  done: StepOfCa,
  tasks: readonly FileTask[],
): Promise<(onPart: OnPart) => Promise<void>> {
  const environment = await environmentOf(root, done);
  return (onPart) => runTasks(tasks, { ...environment, requireLock: onPart });
}

async function runTasks(tasks: readonly FileTask[], environment: StepEnvironment): Promise<void> {
  const { failed } = await runStep(tasks, environment);
  if (failed !== undefined) throw toError(failed.failure);
}

export async function lockNode(root: string): Promise<AsyncDisposable> {
  return lock(join(directoriesIn(root).kubernetes, '.nodecertd'));
}

export async function undo(root: string, undone: StepOfCa): Promise<void> {
  await undoStep(undone, await environmentOf(root, undone));
}

/** No API server and no kubelet of this node runs. */
function withoutServers(task: FileTask): FileTask {
  return without(task, 'check');
}

async function environmentOf(root: string, { ca, step }: StepOfCa) {
  const directories = directoriesIn(root);
  const tree = new Tree('/');
  const runtime = new Runtime(root);
  const restarts = restartsOf(await findLocalNode(directories));
  return {
    ca,
    places: { ca, tree, directories },
    tree,
    directory: rolloverDirectory(directories),
    clock: clockOf(runtime),
    // Starts another program for each file.
    copyAttributes: async () => undefined,
    laterChanges: { change: 'the step', remedy: '' },
    isRestoredLast,
    signal: new AbortController().signal,
    proc: runtime.proc,
    // Nothing answers on their ports.
    restarts: new Map([...restarts].map(([name, { component, by }]) => [name, { component, by }])),
    version: '0.0.0',
    step,
    plan: {},
  } satisfies StepEnvironment & { readonly places: object };
}

/** The key in each kubeconfig belongs to its certificate, at every moment. */
async function requireKubeconfigs(root: string): Promise<void> {
  const { kubernetes } = directoriesIn(root);
  for (const name of (await readdir(kubernetes)).filter((found) => /^[^.].*\.conf$/.test(found))) {
    const path = join(kubernetes, name);
    const document = new KubeconfigDocument(path, await readFile(path, 'utf8'));
    const { source } = kubeconfigCertificate(document);
    assert.ok(source.kind === 'embedded');
    await requireKey(name, source.certificate, Buffer.from(source.key.expose()));
  }
}

/** Each pair matches, and kube-controller-manager can sign. */
async function requirePairs(root: string): Promise<void> {
  const { certificates, kubernetes } = directoriesIn(root);
  for await (const key of glob('{,etcd/}*.key', { cwd: certificates })) {
    const file = join(certificates, key.replace(/key$/, 'crt'));
    await requireKey(key, await readFile(file), await readFile(join(certificates, key)));
  }
  const manifest = join(kubernetes, 'manifests/kube-controller-manager.yaml');
  const text = await readFile(manifest, 'utf8');
  const flag = (name: string): string => new RegExp(`--${name}=(\\S+)`).exec(text)?.[1] ?? '';
  const signing = await readFile(flag('cluster-signing-cert-file'));
  assert.equal((await readCertificates(signing)).length, 1);
  await requireKey('signing', signing, await readFile(flag('cluster-signing-key-file')));
}

async function requireKey(name: string, certificate: Uint8Array, key: Buffer): Promise<void> {
  const [leaf] = await readCertificates(certificate);
  assert.ok(leaf?.openssl.checkPrivateKey(createPrivateKey(key)), `${name} and its certificate`);
}

/** The files before a step, and the paths after it. */
interface Expected {
  readonly before: Snapshot;
  readonly paths: readonly string[];
}

/** After a crash, the step and its undo both lead to the files that they lead to without one. */
export async function requireRecovery(
  root: string,
  step: StepOfCa,
  expected: Expected,
): Promise<void> {
  await requireKubeconfigs(root);
  new Runtime(root).reconcile();
  const crashed = `${root}-crashed`;
  await rm(crashed, { recursive: true, force: true });
  await cp(root, crashed, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  await applyStep(root, step);
  await requireDone(root, step, expected);

  // The manifest has absolute paths, so the undo needs the same place.
  await rm(root, { recursive: true });
  await rename(crashed, root);
  await requireUndone(root, step, expected);
}

/**
 * After a crash in `abort`, the same command completes this stage. After a crash behind the last file, the
 * stage is over, and the command would begin the next one.
 */
export async function requireReturn(
  root: string,
  { ca, stage }: { readonly ca: CaName; readonly stage: 'trust' | 'switch' },
  paths: readonly string[],
): Promise<void> {
  await requireKubeconfigs(root);
  new Runtime(root).reconcile();
  const isOver = stage === 'switch' && (await stageIn(root, ca)) !== 'switch';
  if (!isOver) await applyStep(root, { ca, step: 'abort' });
  await requireKubeconfigs(root);
  await requirePairs(root);
  assert.deepEqual([...(await filesIn(root)).keys()], paths);
  assert.deepEqual(new Runtime(root).outdated(), []);
}

/** Undefined after the last call of `abort`. */
async function stageIn(root: string, ca: CaName): Promise<Stage | undefined> {
  const { places } = await environmentOf(root, { ca, step: 'abort' });
  const node = await readRolloverNode(places);
  return node && (await latestStep(node));
}

async function requireDone(root: string, step: StepOfCa, { paths }: Expected): Promise<void> {
  await requireKubeconfigs(root);
  await requirePairs(root);
  const files = await filesIn(root);
  assert.deepEqual([...files.keys()], paths);
  await applyStep(root, step);
  assert.deepEqual(await filesIn(root), files);
  assert.deepEqual(new Runtime(root).outdated(), []);
}

async function requireUndone(root: string, step: StepOfCa, { before }: Expected): Promise<void> {
  const isChanged = await undo(root, step).then(
    () => true,
    (error: unknown) => {
      // The crash came before the first change, or after the end of an undo.
      if (!hasCode(error, 'USAGE')) throw error;
      return false;
    },
  );
  assert.deepEqual(await filesIn(root), before, `undone: ${isChanged}`);
  new Runtime(root).reconcile();
  assert.deepEqual(new Runtime(root).outdated(), []);
}
