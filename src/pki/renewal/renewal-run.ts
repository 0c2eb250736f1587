import { join } from 'node:path';
import type { Failure } from '../../core/errors.ts';
import { AgentError, describeError } from '../../core/errors.ts';
import { syncDirectory, writeNewFile } from '../../store/atomic-file.ts';
import type { CopyAttributes } from '../../store/file-attributes.ts';
import { readContent, replaceContents } from '../../store/file-content.ts';
import { inspectFiles, refuseLaterChanges, restoreFiles } from '../../store/restore-files.ts';
import type { Runs } from '../../store/run-folder.ts';
import {
  backUp,
  makeRunFolder,
  readRuns,
  restorations,
  runTime,
  sweep,
} from '../../store/run-folder.ts';
import type { FileChange, Manifest, Run } from '../../store/run-manifest.ts';
import { writeManifest } from '../../store/run-manifest.ts';
import type { Clock } from '../../sys/clock.ts';
import type { Tree } from '../../sys/tree.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import type { Advice } from './renewal-advice.ts';
import { refusalOf } from './refusal.ts';
import { createRenewal } from './renew-item.ts';
import type { RenewedFiles } from './renew-item.ts';
import type { RenewalItem } from './renewal-item.ts';
import type { RestartedComponent } from './renewal-restarts.ts';
import type { ServedCheck, ServedResult } from './renewal-served.ts';

/** The folder of all runs, in the folder of the kubeconfigs. */
export const runsFolder = '.nodecertd';

/** The number of runs whose files are kept. */
const keptRuns = 3;

export interface RunEnvironment {
  readonly tree: Tree;
  /** The folder of all runs. This process has locked it. */
  readonly directory: string;
  readonly clock: Clock;
  readonly version: string;
  readonly copyAttributes: CopyAttributes;
}

export interface RenewedCertificate {
  readonly item: RenewalItem;
  readonly certificate: ChainCertificate;
  /** Absent if no endpoint serves it, or the check is turned off. */
  readonly served?: ServedResult;
  /** The component that was restarted, because it reads the certificate only when it starts. */
  readonly restarted?: RestartedComponent;
}

/** What is done around the replacement of the files of a certificate. A failure restores the files. */
export interface AroundRenewal {
  /** Called before each certificate. An error ends the run. */
  readonly before?: (item: RenewalItem) => void;
  readonly served: ServedCheck | undefined;
  /** Restarts what reads the certificate only when it starts. @throws AgentError COMPONENT_RESTART */
  readonly restart: (item: RenewalItem) => Promise<RestartedComponent | undefined>;
}

export interface RenewalResult {
  /** The certificates that were renewed, in order. */
  readonly renewed: readonly RenewedCertificate[];
  /** Absent if nothing was changed. */
  readonly folder?: string;
  readonly failed?: { readonly item: RenewalItem; readonly failure: Failure };
  /** Problems of the control plane after the renewal. Absent if it was not checked. */
  readonly controlPlane?: readonly Advice[];
}

/**
 * Renews one certificate after the other. The first failure ends the run: the files of that
 * certificate are restored, and the certificates before it stay renewed. If they cannot be restored,
 * the run stays interrupted.
 * @param plan the document of the plan, stored beside the copies
 * @throws AgentError STORE_* if not even the folder of the run can be created
 */
export async function runRenewal(
  items: readonly RenewalItem[],
  { plan, ...environment }: RunEnvironment & AroundRenewal & { readonly plan: unknown },
): Promise<RenewalResult> {
  const { directory } = environment;
  let run = await startRun(environment, plan);
  const renewed: RenewedCertificate[] = [];
  let failed: RenewalResult['failed'];
  for (const item of items) {
    try {
      environment.before?.(item);
      const step = await renewItem(run, item, environment);
      run = step.run;
      renewed.push(step.renewed);
    } catch (error) {
      failed = { item, failure: refusalOf(error) };
      if (error instanceof UnrestoredError) return { renewed, folder: run.folder, failed };
      break;
    }
  }
  if (renewed.length === 0) {
    await sweep(directory, [run.folder]);
    return { renewed, ...(failed && { failed }) };
  }
  await finish(run, environment);
  return { renewed, folder: run.folder, ...(failed && { failed }) };
}

/** Leaves no folder behind if the disk is full. */
async function startRun(environment: RunEnvironment, plan: unknown): Promise<Run> {
  const { directory, clock } = environment;
  const { next } = await readRuns(directory);
  const folder = await makeRunFolder({ directory, sequence: next, now: () => clock.now() });
  try {
    await syncDirectory(directory);
    const text = `${JSON.stringify(plan, undefined, 2)}\n`;
    await writeNewFile(join(folder, 'plan.json'), Buffer.from(text), 0o600);
    const run = { folder, manifest: firstManifest(environment, next) };
    await writeManifest(run);
    return run;
  } catch (error) {
    await sweep(directory, [folder]).catch(() => undefined);
    throw error;
  }
}

function firstManifest({ clock, version }: RunEnvironment, sequence: number): Manifest {
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'RenewalManifest',
    version,
    sequence,
    state: 'applying',
    startedAt: runTime(clock.now()),
    changes: [],
  };
}

/**
 * The copies and the manifest are on disk before the first file is replaced, so that the next run
 * can complete or undo this renewal after a crash.
 */
async function renewItem(
  run: Run,
  item: RenewalItem,
  environment: RunEnvironment & AroundRenewal,
): Promise<{ readonly run: Run; readonly renewed: RenewedCertificate }> {
  using files = await createRenewal(item);
  const copies: FileChange[] = [];
  for (const change of files.changes) copies.push(await backUp(run.folder, change));
  const { manifest } = run;
  // Files are restored in the reverse order, and the certificate comes first then, too.
  const changes = [...manifest.changes, ...copies.toReversed()];
  const begun: Run = { folder: run.folder, manifest: { ...manifest, changes } };
  await requireUnchanged(files);
  await writeManifest(begun);
  try {
    await replaceContents(
      files.changes.map(({ path, after }) => ({ path, content: after })),
      environment.copyAttributes,
    );
    await requireWritten(files);
    const served = await environment.served?.check(item);
    const restarted = await environment.restart(item);
    const { certificate } = files;
    const renewed = {
      item,
      certificate,
      ...(served && { served }),
      ...(restarted && { restarted }),
    };
    return { run: begun, renewed };
  } catch (error) {
    await restoreItem({ begun, before: run, copies }, environment, error);
    throw error instanceof AgentError
      ? error.withMessage(`${error.message}; the previous files of ${item.entry.name} are in place`)
      : error;
  }
}

/** @throws AgentError FILE_CHANGED */
async function requireUnchanged({ changes }: RenewedFiles): Promise<void> {
  for (const { path, before } of changes) {
    const found = await readContent(path);
    const isSame = found?.state.sha256 === before?.state.sha256;
    found?.bytes.fill(0);
    if (isSame) continue;
    throw new AgentError('FILE_CHANGED', `another program changed ${path} during this run`, {
      remedy: 'Run this command again',
    });
  }
}

/** @throws AgentError STORE_IO */
async function requireWritten({ changes }: RenewedFiles): Promise<void> {
  for (const { path, after } of changes) {
    const found = await readContent(path);
    const isSame = found?.state.sha256 === after.state.sha256;
    found?.bytes.fill(0);
    if (!isSame)
      throw new AgentError(
        'STORE_IO',
        `${path} does not contain the bytes that nodecertd has written`,
      );
  }
}

/**
 * The run stays as it is: the next command needs its manifest and its copies to restore the files.
 */
class UnrestoredError extends AgentError {}

/** @throws UnrestoredError STORE_IO with both errors, when a file cannot be restored */
async function restoreItem(
  {
    begun,
    before,
    copies,
  }: { readonly begun: Run; readonly before: Run; readonly copies: readonly FileChange[] },
  { tree, copyAttributes }: RunEnvironment,
  cause: unknown,
): Promise<void> {
  try {
    const only: Run = {
      folder: begun.folder,
      manifest: { ...begun.manifest, changes: [...copies].toReversed() },
    };
    await restoreFiles(await inspectFiles(tree, restorations([only])), copyAttributes);
    await writeManifest(before);
  } catch (error) {
    const message = `${describeError(cause)}; then a changed file could not be restored: ${describeError(error)}`;
    throw new UnrestoredError('STORE_IO', message, {
      cause,
      remedy: `Fix the second error, then run: nodecertd certs rollback --yes; the copies are in ${begun.folder}`,
    });
  }
}

async function finish(run: Run, { directory, clock }: RunEnvironment): Promise<void> {
  const finishedAt = runTime(clock.now());
  await writeManifest({ ...run, manifest: { ...run.manifest, state: 'applied', finishedAt } });
  const { active, obsolete } = await readRuns(directory);
  const old = active.slice(0, Math.max(active.length - keptRuns, 0));
  await sweep(directory, [...obsolete, ...old.map(({ folder }) => folder)]);
}

/** The first run that a crash interrupted. */
export function interruptedRun({ active }: Runs): Run | undefined {
  return active.find(({ manifest }) => manifest.state !== 'applied');
}

/**
 * Completes an interrupted run: finishes a rollback; keeps the certificates whose files were all
 * replaced, and restores the files of the others.
 * @returns the names of the certificates that stay renewed
 * @throws AgentError FILE_CHANGED, STORE_*
 */
export async function completeRuns(environment: RunEnvironment): Promise<readonly string[]> {
  const { directory } = environment;
  const runs = await readRuns(directory);
  const run = interruptedRun(runs);
  let kept: readonly string[] = [];
  if (run?.manifest.state === 'reverting') {
    await rollBack({ runs, target: run, force: false }, environment);
  } else if (run !== undefined) {
    kept = await completeRenewal(run, environment);
  }
  await sweep(directory, (await readRuns(directory)).obsolete);
  return kept;
}

async function completeRenewal(run: Run, environment: RunEnvironment): Promise<readonly string[]> {
  const { tree, directory, clock } = environment;
  const { folder, manifest } = run;
  const items = Map.groupBy(manifest.changes, ({ item, path }) => item ?? path);
  const kept: FileChange[] = [];
  for (const changes of items.values()) {
    if (await isInPlace(changes)) {
      kept.push(...changes);
      continue;
    }
    const only = { folder, manifest: { ...manifest, changes } };
    const files = await inspectFiles(tree, restorations([only]));
    refuseLaterChanges(files, laterChanges);
    await restoreFiles(files, environment.copyAttributes);
  }
  if (kept.length === 0) {
    await sweep(directory, [folder]);
    return [];
  }
  const finishedAt = runTime(clock.now());
  await writeManifest({
    folder,
    manifest: { ...manifest, state: 'applied', finishedAt, changes: kept },
  });
  return kept.flatMap(({ item }) => item ?? []);
}

async function isInPlace(changes: readonly FileChange[]): Promise<boolean> {
  for (const { path, after } of changes) {
    const found = await readContent(path);
    found?.bytes.fill(0);
    if (found?.state.sha256 !== after.sha256) return false;
  }
  return true;
}

const laterChanges = {
  change: 'the renewal',
  remedy:
    'Discard the changes and restore the previous files: nodecertd certs rollback --force --yes',
};

/** The runs to undo: the target and every later one. */
export function runsSince({ active }: Runs, target: Run): Run[] {
  return active.slice(active.findIndex(({ folder }) => folder === target.folder));
}

/**
 * Restores the files as they were before a run. The manifest says `reverting` before the first
 * file is changed, and the folder of the target is deleted last, so that the next command can
 * continue after a crash.
 * @throws AgentError FILE_CHANGED unless forced, STORE_*
 */
export async function rollBack(
  { runs, target, force }: { readonly runs: Runs; readonly target: Run; readonly force: boolean },
  { tree, directory, copyAttributes }: RunEnvironment,
): Promise<void> {
  const undone = runsSince(runs, target);
  const files = await inspectFiles(tree, restorations(undone));
  if (!force) refuseLaterChanges(files, laterChanges);
  await writeManifest({ ...target, manifest: { ...target.manifest, state: 'reverting' } });
  await restoreFiles(files, copyAttributes);
  await sweep(
    directory,
    undone.toReversed().map(({ folder }) => folder),
  );
}
