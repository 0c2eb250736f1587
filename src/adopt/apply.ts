import { AgentError, describeError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { digestOf, replaceContent, readContent } from '../store/file-content.ts';
import type { FileContent } from '../store/file-content.ts';
import type { Run } from '../store/run-manifest.ts';
import { writeManifest } from '../store/run-manifest.ts';
import type { Step } from './plan.ts';
import { undoRun } from './revert.ts';
import type { BackedUpChange } from '../store/run-folder.ts';
import { runTime } from '../store/run-folder.ts';
import { startRun } from '../store/run-start.ts';
import type { Tree } from '../sys/tree.ts';

export interface ApplyRequest {
  readonly tree: Tree;
  /** The folder of all runs, as this program opens it. */
  readonly directory: string;
  readonly steps: readonly Step[];
  readonly sequence: number;
  readonly version: string;
  readonly now: () => Instant;
  /** Checks the result; after an error, all changes are undone. */
  readonly verify: () => Promise<void>;
}

/**
 * Makes all changes or none. The copies and the manifest are on the disk before the first
 * change, so the next run can undo or complete this one after a crash. An error undoes the
 * changes made so far.
 * @throws AgentError FILE_CHANGED when a file differs from the plan, STORE_*, and the errors
 * of `verify`
 */
export async function applySteps(request: ApplyRequest): Promise<Run> {
  const changes: PreparedChange[] = [];
  for (const step of request.steps) changes.push(await prepare(request.tree, step));
  const run = await startRun({ ...request, kind: 'AdoptionManifest', changes });
  let begun = 0;
  try {
    for (const { path, physical, before, after } of changes) {
      requireUnchanged(path, (await readContent(physical))?.bytes, before?.bytes);
      begun += 1;
      await replaceContent(physical, after);
    }
    await request.verify();
    const finishedAt = runTime(request.now());
    const finished: Run = { ...run, manifest: { ...run.manifest, state: 'applied', finishedAt } };
    await writeManifest(finished);
    return finished;
  } catch (error) {
    const made = { ...run.manifest, changes: run.manifest.changes.slice(0, begun) };
    await rollBack(request, { ...run, manifest: made }, error);
    throw error instanceof AgentError
      ? error.withMessage(`${error.message}; all changes were undone`)
      : error;
  }
}

interface PreparedChange extends BackedUpChange {
  readonly physical: string;
  readonly after: FileContent;
}

async function prepare(tree: Tree, step: Step): Promise<PreparedChange> {
  const { path, physical } = await tree.locate(step.file);
  const before = await readContent(physical);
  const planned = step.before === undefined ? undefined : Buffer.from(step.before);
  requireUnchanged(step.file, before?.bytes, planned);
  const bytes = new Uint8Array(Buffer.from(step.after ?? ''));
  const mode = step.mode?.toString(8).padStart(4, '0') ?? before?.state.mode ?? '0644';
  const owner = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  const state = { ...owner, ...before?.state, sha256: digestOf(bytes), mode };
  return { path, physical, ...(before && { before }), after: { bytes, state } };
}

function requireUnchanged(
  file: string,
  found: Uint8Array | undefined,
  planned: Uint8Array | undefined,
): void {
  const isSame = found && planned ? Buffer.compare(found, planned) === 0 : found === planned;
  if (isSame) return;
  throw new AgentError('FILE_CHANGED', `another program changed ${file} during this run`, {
    remedy: 'Run this command again, which reads the file again',
  });
}

/** @throws AgentError with both errors, when a file cannot be restored */
async function rollBack(request: ApplyRequest, run: Run, cause: unknown): Promise<void> {
  try {
    await undoRun({ ...request, run });
  } catch (error) {
    const message = `${describeError(cause)}; then a changed file could not be restored: ${describeError(error)}`;
    const remedy = `Fix the second error, then run nodecertd adopt --revert --yes; the copies are in ${run.folder}`;
    throw new AgentError('STORE_IO', message, { cause, remedy });
  }
}
