import { readContent } from './file-content.ts';
import type { Run, RunState } from './manifest.ts';
import { writeManifest } from './manifest.ts';
import { examineAll, putBack, requireOurs } from './restore.ts';
import type { Runs } from './runs.ts';
import { restorations, sweep, unfinishedRun } from './runs.ts';
import type { Tree } from './tree.ts';

export interface RunsOnDisk {
  readonly tree: Tree;
  /** `<stateDirectory>/adopt`, as this program opens it. */
  readonly directory: string;
  readonly runs: Runs;
}

/**
 * Puts everything back. The record says that this was begun before the first file is
 * touched, and that it is done after the last: whoever comes after a crash goes on here.
 * @throws AgentError FILE_CHANGED unless forced, STORE_*
 */
export async function revertRuns(
  { tree, directory, runs }: RunsOnDisk,
  { force }: { readonly force: boolean },
): Promise<void> {
  const latest = runs.standing.at(-1);
  if (latest !== undefined) {
    const files = await examineAll(tree, restorations(runs.standing));
    if (!force) requireOurs(files);
    await writeManifest(inState(latest, 'reverting'));
    await putBack(files);
    await writeManifest(inState(latest, 'reverted'));
  }
  await sweep(directory, [...runs.done, ...runs.standing.map(({ folder }) => folder)]);
}

/**
 * Brings a run that was cut short to an end, so that a new one finds the node as it was
 * before or after: what was being put back goes back; so do changes that were being made,
 * unless all of them were.
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
  await sweep(directory, runs.done);
}

async function isInPlace(tree: Tree, { manifest }: Run): Promise<boolean> {
  for (const { path, after } of manifest.changes) {
    const content = await readContent((await tree.locate(path)).physical);
    if (content?.state.sha256 !== after.sha256) return false;
  }
  return true;
}

/** Of one run alone. @throws AgentError FILE_CHANGED, STORE_* */
export async function undoRun({
  tree,
  directory,
  run,
}: {
  readonly tree: Tree;
  readonly directory: string;
  readonly run: Run;
}): Promise<void> {
  const files = await examineAll(tree, restorations([run]));
  requireOurs(files);
  await putBack(files);
  await sweep(directory, [run.folder]);
}

function inState({ folder, manifest }: Run, state: RunState): Run {
  const { finishedAt = manifest.startedAt } = manifest;
  return { folder, manifest: { ...manifest, state, finishedAt } };
}
