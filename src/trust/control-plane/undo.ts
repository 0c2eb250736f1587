import { AgentError } from '../../core/errors.ts';
import { expectRestart } from '../../pki/renewal/component-start.ts';
import type { RestartedComponent, Restarts } from '../../pki/renewal/renewal-restarts.ts';
import type { ComponentRestart, RestartEnvironment } from '../../pki/renewal/restart.ts';
import { rolloverCommand } from '../../pki/renewal/rollover-runs.ts';
import { linkTarget } from '../../store/link-target.ts';
import { inspectFiles, refuseLaterChanges, wipe } from '../../store/restore-files.ts';
import type { Restoration, Runs } from '../../store/run-folder.ts';
import { readRuns, restorations, sweep } from '../../store/run-folder.ts';
import type { Manifest, Run } from '../../store/run-manifest.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import { rollBack, runsSince } from '../../store/run-recovery.ts';
import { applyCommand } from './apply-command.ts';
import type { CaName, Step } from './task.ts';
import { undoCommand } from './task-run.ts';
import { unitsOf } from './unit-restart.ts';

export interface UndoEnvironment extends RunRecovery, RestartEnvironment {
  readonly restarts: Restarts;
}

/** The step whose files are restored. */
export interface UndoneStep {
  readonly ca: CaName;
  readonly step: Step;
}

export interface UndoPreview {
  /** The runs of the step that are undone, the oldest first. */
  readonly runs: readonly Run[];
  /** The files that are restored, or removed because they did not exist before the step. */
  readonly files: readonly { readonly path: string; readonly isRemoved: boolean }[];
  /** The components that restart, because their manifests or the files of their units are restored. */
  readonly restarts: readonly ComponentRestart[];
}

/**
 * Plans the undo of a step on this node. Writes nothing, and takes no lock.
 * @throws AgentError USAGE if this step is not the last one on this node; FILE_CHANGED
 */
export async function previewUndo(
  step: UndoneStep,
  {
    tree,
    directory,
    restarts,
    laterChanges,
  }: Pick<UndoEnvironment, 'tree' | 'directory' | 'restarts' | 'laterChanges'>,
): Promise<UndoPreview> {
  const runs = await readRuns(directory);
  const undone = runsSince(runs, undoTarget(runs, step));
  const restored = restorations(undone);
  refuseReplaced(restored, step);
  const inspected = await inspectFiles(tree, restored);
  wipe(inspected);
  if (laterChanges !== undefined) refuseLaterChanges(inspected, laterChanges);
  const changed = inspected.filter(({ kind }) => kind !== 'done');
  return {
    runs: undone,
    files: changed.map(({ path, target }) => ({ path, isRemoved: target === undefined })),
    restarts: [
      ...(await podsBy(
        changed.map(({ path }) => path),
        restarts,
      )),
      // An undo that was interrupted may have restored the files, but not have restarted the unit.
      ...unitsOf(inspected, restarts),
    ],
  };
}

/**
 * `kubeadm certs renew` between two runs of the step has replaced a file, and the second copy of this
 * file does not fit the others: it is a certificate from the CA that issued at that time.
 * @throws AgentError FILE_CHANGED
 */
function refuseReplaced(restored: readonly Restoration[], step: UndoneStep): void {
  const paths = restored.flatMap(({ path, isReplaced }) => (isReplaced ? [path] : []));
  if (paths.length === 0) return;
  throw new AgentError(
    'FILE_CHANGED',
    `these files were changed between two runs of the step: ${paths.join(', ')}`,
    { remedy: withoutCopies(step) },
  );
}

/**
 * Restores the files of this node as they were before a step, and waits for the components that
 * restart. An interrupted step needs no completion first, because all its copies exist. The caller
 * has locked the directory of `certs renew`.
 * @throws AgentError USAGE, FILE_CHANGED, STORE_*; COMPONENT_RESTART after all files are restored
 */
export async function undoStep(
  step: UndoneStep,
  environment: UndoEnvironment,
): Promise<UndoPreview & { readonly restarted: readonly RestartedComponent[] }> {
  const { directory } = environment;
  const preview = await previewUndo(step, environment);
  const waits: { readonly component: string; readonly isHealthy: () => Promise<number> }[] = [];
  for (const restart of preview.restarts) {
    const isHealthy = await expectRestart(restart, environment);
    waits.push({ component: restart.component, isHealthy });
  }
  const runs = await readRuns(directory);
  const target = undoTarget(runs, step);
  await rollBack({ runs, target, force: false }, environment);
  await sweep(directory, runs.obsolete);
  const restarted: RestartedComponent[] = [];
  for (const { component, isHealthy } of waits) {
    restarted.push({ component, tookMs: await isHealthy() });
  }
  return { ...preview, restarted };
}

/** The first of the runs of this step, which are the last ones on this node. */
function undoTarget({ active }: Runs, step: UndoneStep): Run {
  const last = active.at(-1);
  // An undo that was interrupted has to be finished first.
  const current = active.find(({ manifest }) => manifest.state === 'reverting') ?? last;
  if (current !== undefined && isOf(step, current)) {
    const before = active.findLastIndex((run) => !isOf(step, run));
    return active[before + 1] ?? current;
  }
  if (current === undefined) {
    throw new AgentError('USAGE', 'nodecertd ca-rollover apply has changed no file on this node', {
      remedy: withoutCopies(step),
    });
  }
  throw new AgentError(
    'USAGE',
    `the last step on this node was ${nameOf(current.manifest)}, not ${nameOf(step)}`,
    { remedy: remedyAfter(current.manifest) },
  );
}

/** `abort` deletes all copies at its end, and cannot be undone. */
function remedyAfter(manifest: Manifest): string {
  if (manifest.step === 'abort') return `Complete that step: ${rolloverCommand(manifest)}`;
  return `Undo that step first: ${undoCommand(manifest)}`;
}

function withoutCopies({ ca }: UndoneStep): string {
  return ca === 'kubernetes'
    ? `Go back without the copies: ${applyCommand('abort', ca)}`
    : 'Restore the previous files from a backup';
}

/** As in `trust --ca etcd`. */
function nameOf({ step, ca = 'kubernetes' }: Pick<Manifest, 'step' | 'ca'>): string {
  return `${step ?? ''} --ca ${ca}`;
}

/** An earlier version of nodecertd replaced only the CA of Kubernetes. */
export function isOf({ step, ca }: UndoneStep, { manifest }: Run): boolean {
  return manifest.step === step && (manifest.ca ?? 'kubernetes') === ca;
}

async function podsBy(changed: readonly string[], restarts: Restarts): Promise<ComponentRestart[]> {
  const found: ComponentRestart[] = [];
  for (const restart of restarts.values()) {
    const { by } = restart;
    if (by.kind === 'manifest' && changed.includes(await linkTarget(by.path))) found.push(restart);
  }
  return found;
}

/** Deletes all copies of a rollover, because they contain the key of the old CA. */
export async function deleteCopies(directory: string): Promise<void> {
  const { active, obsolete } = await readRuns(directory);
  await sweep(directory, [...obsolete, ...active.map(({ folder }) => folder)]);
}
