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
import { caOf, runsOf, undoCommand } from './task-run.ts';
import { unitsOf } from './unit-restart.ts';

export interface UndoEnvironment extends RunRecovery, RestartEnvironment {
  readonly restarts: Restarts;
}

/**
 * kube-apiserver restarts because of the CA file that belongs to the task of etcd. If its manifest were
 * restored first, a crash before that file would leave it with the CAs of the step.
 */
export function isRestoredLast({ item }: { readonly item?: string }): boolean {
  return item === 'kube-apiserver';
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
function undoTarget(runs: Runs, step: UndoneStep): Run {
  const { active } = runs;
  const last = active.at(-1);
  // An undo that was interrupted has to be finished first.
  const current = active.find(({ manifest }) => manifest.state === 'reverting') ?? last;
  if (current !== undefined && isOf(step, current)) {
    const before = active.findLastIndex((run) => !isOf(step, run));
    return active[before + 1] ?? current;
  }
  // The copies of a rollover of another CA stay, and its steps do not have to be undone first.
  if (current === undefined || runsOf(step.ca, runs).length === 0) {
    throw new AgentError(
      'USAGE',
      `this node has no copies of a step of ca-rollover apply --ca ${step.ca}`,
      { remedy: withoutCopies(step) },
    );
  }
  throw new AgentError(
    'USAGE',
    `the last step on this node was ${nameOf(current.manifest)}, not ${nameOf(step)}`,
    { remedy: remedyAfter(current, step) },
  );
}

/**
 * `abort` deletes the copies at its end, and cannot be undone. A rollover of another CA that is
 * complete does not have to be undone: without its copies, the step before it is the last one.
 */
function remedyAfter(current: Run, { ca }: UndoneStep): string {
  const { manifest } = current;
  if (manifest.step === 'abort') return `Complete that step: ${rolloverCommand(manifest)}`;
  const undo = `Undo that step first: ${undoCommand(manifest)}`;
  if (manifest.step !== 'finish' || caOf(current) === ca) return undo;
  return `${undo}; or keep that step, and delete its copies, which have the key of the old CA: ${rolloverCommand(manifest)} --old-key destroy`;
}

function withoutCopies({ ca }: UndoneStep): string {
  return `Go back without the copies: ${applyCommand('abort', ca)}`;
}

/** As in `trust --ca etcd`. */
function nameOf({ step, ca = 'kubernetes' }: Pick<Manifest, 'step' | 'ca'>): string {
  return `${step ?? ''} --ca ${ca}`;
}

export function isOf({ step, ca }: UndoneStep, run: Run): boolean {
  return run.manifest.step === step && caOf(run) === ca;
}

async function podsBy(changed: readonly string[], restarts: Restarts): Promise<ComponentRestart[]> {
  const found: ComponentRestart[] = [];
  for (const restart of restarts.values()) {
    const { by } = restart;
    if (by.kind === 'manifest' && changed.includes(await linkTarget(by.path))) found.push(restart);
  }
  return found;
}

/** Deletes all copies of the rollovers of a CA, because they contain the key of the old CA. */
export async function deleteCopies(directory: string, ca: CaName): Promise<void> {
  const runs = await readRuns(directory);
  await sweep(directory, [...runs.obsolete, ...runsOf(ca, runs).map(({ folder }) => folder)]);
}
