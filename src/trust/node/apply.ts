import { AgentError, describeError } from '../../core/errors.ts';
import { encodeCertificates } from '../../core/pem.ts';
import { removeStrays, replaceFile } from '../../store/atomic-file.ts';
import { isInPlace, requireUnchanged, requireWritten } from '../../store/change-checks.ts';
import { replaceContents } from '../../store/file-content.ts';
import { readRuns, sweep } from '../../store/run-folder.ts';
import type { Run } from '../../store/run-manifest.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import {
  completeRuns,
  finishRun,
  interruptedRun,
  restoreRun,
  rollBack,
} from '../../store/run-recovery.ts';
import { startRun } from '../../store/run-start.ts';
import { exists } from '../../sys/exists.ts';
import type { TrustPlace } from './place.ts';
import type { FilePlan, TrustChange } from './place-change.ts';
import { planFiles } from './place-change.ts';
import type { TrustFiles } from './trust-files.ts';
import { recoveryOf } from './trust-files.ts';

/** A change of the files of this node. */
export interface TrustRun {
  /** The folder with the copies of the previous files. */
  readonly folder: string;
  /** The files that were replaced or restored, with links resolved. */
  readonly paths: readonly string[];
}

/** The number of runs that can be rolled back. */
const keptRuns = 3;

/**
 * Writes the CAs of all places, or of none. The copies and the manifest are on disk before the
 * first file is replaced, and an error restores every file. The caller has locked the directory
 * and completed an interrupted run.
 * @param verify checks what is on disk, for example by a connection to each API server
 * @returns undefined if every place has these CAs already
 * @throws AgentError KUBECONFIG_UNSUPPORTED, FILE_CHANGED, STORE_*, and the errors of `verify`
 */
export async function applyTrust(
  files: TrustFiles,
  {
    changes,
    verify,
  }: { readonly changes: readonly TrustChange[]; readonly verify: () => Promise<void> },
): Promise<TrustRun | undefined> {
  for (const { place } of changes) await createMoveTarget(place);
  const plans = await planFiles(changes);
  if (plans.length === 0) return undefined;
  const recovery = recoveryOf(files);
  const { directory, clock } = recovery;
  try {
    const { next: sequence } = await readRuns(directory);
    const run = await startRun({
      directory,
      sequence,
      now: () => clock.now(),
      kind: 'TrustManifest',
      version: files.version,
      changes: plans,
    });
    await makeChanges(run, { recovery, plans, verify });
    return { folder: run.folder, paths: plans.map(({ path }) => path) };
  } finally {
    wipe(plans);
  }
}

/**
 * Not a part of the change, so that a rollback leaves the file: a kubelet that was started in
 * between still opens it.
 */
async function createMoveTarget({ moveTo, authorities }: TrustPlace): Promise<void> {
  if (moveTo === undefined || (await exists(moveTo))) return;
  await removeStrays(moveTo);
  await replaceFile(moveTo, encodeCertificates(authorities), 0o644);
}

async function makeChanges(
  run: Run,
  {
    recovery,
    plans,
    verify,
  }: {
    readonly recovery: RunRecovery;
    readonly plans: readonly FilePlan[];
    readonly verify: () => Promise<void>;
  },
): Promise<void> {
  const replaceAll = async (): Promise<void> => {
    await requireUnchanged(plans);
    for (const form of ['pem', 'kubeconfig'] as const) await replace(form, plans, recovery);
    await requireWritten(plans);
    await verify();
  };
  await settle(run, recovery, replaceAll);
}

/** Ends a run: as applied after `finish`, with the previous files if it fails. */
async function settle(run: Run, recovery: RunRecovery, finish: () => Promise<void>): Promise<void> {
  try {
    await finish();
    await finishRun(run, recovery, keptRuns);
  } catch (error) {
    await restore(run, recovery, error);
    throw error instanceof AgentError
      ? error.withMessage(`${error.message}; the previous files are in place`)
      : error;
  }
}

/** PEM files are on disk before the kubeconfigs that name them, also after a power loss. */
async function replace(
  form: FilePlan['form'],
  plans: readonly FilePlan[],
  { copyAttributes }: RunRecovery,
): Promise<void> {
  const files = plans
    .filter((plan) => plan.form === form)
    .map(({ path, after }) => ({ path, content: after }));
  await replaceContents(files, copyAttributes);
}

/** @throws AgentError STORE_IO with both errors, when a file cannot be restored */
async function restore(run: Run, recovery: RunRecovery, cause: unknown): Promise<void> {
  try {
    await restoreRun(run, recovery);
    await sweep(recovery.directory, [run.folder]);
  } catch (error) {
    const message = `${describeError(cause)}; then a changed file could not be restored: ${describeError(error)}`;
    throw new AgentError('STORE_IO', message, {
      cause,
      remedy: `Fix the second error, then run: nodecertd trust sync; the copies are in ${run.folder}`,
    });
  }
}

/** A kubeconfig may contain a key or a token. */
function wipe(plans: readonly FilePlan[]): void {
  for (const { before, after } of plans) {
    before?.bytes.fill(0);
    after.bytes.fill(0);
  }
}

/**
 * Completes a run that a crash interrupted: keeps the files if all were replaced and `verify`
 * succeeds, and restores them otherwise.
 * @returns whether the files of the run are in place
 * @throws AgentError STORE_*, and the errors of `verify`
 */
export async function completeTrust(
  files: TrustFiles,
  verify: () => Promise<void>,
): Promise<boolean> {
  const recovery = recoveryOf(files);
  const run = interruptedRun(await readRuns(recovery.directory));
  const isComplete = run?.manifest.state === 'applying' && (await isInPlace(run.manifest.changes));
  if (isComplete) await settle(run, recovery, verify);
  else await completeRuns(recovery);
  return isComplete;
}

/**
 * Restores the files as they were before the last change.
 * @returns undefined if there is no change to undo
 * @throws AgentError FILE_CHANGED unless forced, STORE_*
 */
export async function rollBackTrust(
  files: TrustFiles,
  { force }: { readonly force: boolean },
): Promise<TrustRun | undefined> {
  const recovery = { ...recoveryOf(files), laterChanges };
  const runs = await readRuns(recovery.directory);
  const target = interruptedRun(runs) ?? runs.active.at(-1);
  if (target !== undefined) await rollBack({ runs, target, force }, recovery);
  await sweep(recovery.directory, runs.obsolete);
  return (
    target && { folder: target.folder, paths: target.manifest.changes.map(({ path }) => path) }
  );
}

const laterChanges = {
  change: 'the change of the CAs',
  remedy:
    'Discard the later changes and restore the previous files: nodecertd trust rollback --force',
};
