import { join } from 'node:path';
import type { Failure } from '../../core/errors.ts';
import { AgentError, describeError } from '../../core/errors.ts';
import { syncDirectory, writeNewFile } from '../../store/atomic-file.ts';
import { requireUnchanged, requireWritten } from '../../store/change-checks.ts';
import { replaceContents } from '../../store/file-content.ts';
import { inspectFiles, restoreFiles } from '../../store/restore-files.ts';
import {
  backUp,
  makeRunFolder,
  readRuns,
  restorations,
  runTime,
  sweep,
} from '../../store/run-folder.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import { finishRun } from '../../store/run-recovery.ts';
import type { FileChange, Manifest, Run } from '../../store/run-manifest.ts';
import { writeManifest } from '../../store/run-manifest.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import type { Advice } from './renewal-advice.ts';
import { refusalOf } from './refusal.ts';
import { createRenewal } from './renew-item.ts';
import type { RenewalItem } from './renewal-item.ts';
import type { RestartedComponent } from './renewal-restarts.ts';
import type { ServedCheck, ServedResult } from './renewal-served.ts';

/** The folder of all runs, in the folder of the kubeconfigs. */
export const runsFolder = '.nodecertd';

/** The number of runs whose files are kept. */
const keptRuns = 3;

export interface RunEnvironment extends Omit<RunRecovery, 'laterChanges'> {
  readonly version: string;
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
  await finishRun(run, environment, keptRuns);
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
  await requireUnchanged(files.changes);
  await writeManifest(begun);
  try {
    await replaceContents(
      files.changes.map(({ path, after }) => ({ path, content: after })),
      environment.copyAttributes,
    );
    await requireWritten(files.changes);
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
