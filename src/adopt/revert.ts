import { readContent } from '../store/file-content.ts';
import type { Run, RunState } from '../store/run-manifest.ts';
import { writeManifest } from '../store/run-manifest.ts';
import { inspectFiles, refuseLaterChanges, restoreFiles } from '../store/restore-files.ts';
import type { Runs } from '../store/run-folder.ts';
import { restorations, sweep, unfinishedRun } from '../store/run-folder.ts';
import type { Tree } from '../sys/tree.ts';

const afterAdoption = {
  change: 'the adoption',
  remedy:
    'Show the changes: nodecertd adopt --revert; discard them and restore the previous files: nodecertd adopt --revert --force --yes',
};

export interface RunsOnDisk {
  readonly tree: Tree;
  /** The folder of all runs, as this program opens it. */
  readonly directory: string;
  readonly runs: Runs;
}

/**
 * Restores all files. The manifest says `reverting` before the first file is changed and
 * `reverted` after the last one, so the next run can continue after a crash.
 * @throws AgentError FILE_CHANGED unless forced, STORE_*
 */
export async function revertRuns(
  { tree, directory, runs }: RunsOnDisk,
  { force }: { readonly force: boolean },
): Promise<void> {
  const latest = runs.active.at(-1);
  if (latest !== undefined) {
    const files = await inspectFiles(tree, restorations(runs.active));
    if (!force) refuseLaterChanges(files, afterAdoption);
    await writeManifest(inState(latest, 'reverting'));
    await restoreFiles(files);
    await writeManifest(inState(latest, 'reverted'));
  }
  await sweep(directory, [...runs.obsolete, ...runs.active.map(({ folder }) => folder)]);
}

/**
 * Completes an interrupted run: a revert is finished, and an adoption is undone unless all
 * its changes were made.
 * @throws AgentError FILE_CHANGED, STORE_*
 */
export async function completeRun(onDisk: RunsOnDisk): Promise<void> {
  const { tree, directory, runs } = onDisk;
  const run = unfinishedRun(runs);
  if (run?.manifest.state === 'reverting') return revertRuns(onDisk, { force: false });
  if (run !== undefined && (await isInPlace(tree, run))) {
    await writeManifest(inState(run, 'applied'));
  } else if (run !== undefined) {
    await undoRun({ tree, directory, run });
  }
  await sweep(directory, runs.obsolete);
}

async function isInPlace(tree: Tree, { manifest }: Run): Promise<boolean> {
  for (const { path, after } of manifest.changes) {
    const content = await readContent((await tree.locate(path)).physical);
    if (content?.state.sha256 !== after?.sha256) return false;
  }
  return true;
}

/** Reverts one run. @throws AgentError FILE_CHANGED, STORE_* */
export async function undoRun({
  tree,
  directory,
  run,
}: {
  readonly tree: Tree;
  readonly directory: string;
  readonly run: Run;
}): Promise<void> {
  const files = await inspectFiles(tree, restorations([run]));
  refuseLaterChanges(files, afterAdoption);
  await restoreFiles(files);
  await sweep(directory, [run.folder]);
}

function inState({ folder, manifest }: Run, state: RunState): Run {
  const { finishedAt = manifest.startedAt } = manifest;
  return { folder, manifest: { ...manifest, state, finishedAt } };
}
