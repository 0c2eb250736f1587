import type { AgentConfig } from '../core/config.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { DirectoryLock } from '../store/directory-lock.ts';
import { lockDirectory } from '../store/directory-lock.ts';
import type { Clock } from '../sys/clock.ts';
import { applySteps } from './apply.ts';
import type { AdoptionFacts, FactsRequest } from './facts.ts';
import { adoptDirectory, gatherFacts } from './facts.ts';
import type { Run } from '../store/run-manifest.ts';
import type { Note, Plan } from './plan.ts';
import { planAdoption } from './plan-adoption.ts';
import { completeRun, revertRuns, undoRun } from './revert.ts';
import { planRevert } from './revert-plan.ts';
import { makePrivateDirectory, readRuns, unfinishedRun } from '../store/run-folder.ts';

export interface AdoptionRequest extends Omit<FactsRequest, 'now'> {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly version: string;
  readonly signal: AbortSignal;
}

/** A plan, and the run that made its changes. */
export interface AdoptionResult {
  readonly plan: Plan;
  /** Absent when no file was changed. */
  readonly run?: Run;
}

/** The plan of `adopt`. Changes nothing. */
export async function previewAdoption(request: AdoptionRequest): Promise<Plan> {
  const facts = await factsNow(request);
  return withInterruptedNote(planAdoption(facts), facts);
}

/** The plan of `adopt --revert`. Changes nothing. */
export async function previewRevert(request: AdoptionRequest): Promise<Plan> {
  const facts = await factsNow(request);
  return withInterruptedNote(await planRevert(request.tree, facts), facts);
}

/**
 * Completes an interrupted run, plans again, and makes all changes or none.
 * @throws AgentError as applySteps; STORE_LOCKED during another run
 */
export async function adopt(request: AdoptionRequest): Promise<AdoptionResult> {
  const { tree, config, clock, version } = request;
  const directory = await adoptDirectory(tree, config);
  const preview = await factsNow(request);
  if (!hasRuns(preview)) {
    // A refused run, or a run without changes, creates no file and no folder.
    const plan = planAdoption(preview);
    if (!canApply(plan)) return { plan };
  }
  await using _ = await lock(directory);
  await completeRun({ tree, directory, runs: await readRuns(directory) });
  const facts = await factsNow(request);
  const plan = planAdoption(facts);
  if (!canApply(plan)) return { plan };
  const run = await applySteps({
    tree,
    directory,
    steps: plan.steps,
    sequence: facts.runs.next,
    version,
    now: () => clock.now(),
    verify: () => verify(request, facts),
  });
  return { plan, run };
}

/** @throws AgentError FILE_CHANGED unless forced, STORE_* */
export async function revert(
  request: AdoptionRequest,
  { force }: { readonly force: boolean },
): Promise<AdoptionResult> {
  const { tree, config } = request;
  const directory = await adoptDirectory(tree, config);
  const before = await factsNow(request);
  if (!hasRuns(before)) return { plan: await planRevert(tree, before) };
  await using _ = await lock(directory);
  const facts = await factsNow(request);
  const plan = await planRevert(tree, facts);
  if (plan.obstacles.length > 0 && !force) return { plan };
  await revertRuns({ tree, directory, runs: facts.runs }, { force });
  return { plan };
}

/**
 * Reverts one run, after which the kubelet did not start.
 * @throws AgentError FILE_CHANGED, STORE_*
 */
export async function undo({ tree, config }: AdoptionRequest, run: Run): Promise<void> {
  const directory = await adoptDirectory(tree, config);
  await using _ = await lock(directory);
  await undoRun({ tree, directory, run });
}

function hasRuns({ runs }: AdoptionFacts): boolean {
  return runs.active.length + runs.obsolete.length > 0;
}

function canApply({ steps, obstacles }: Plan): boolean {
  return obstacles.length === 0 && steps.length > 0;
}

async function factsNow(request: AdoptionRequest): Promise<AdoptionFacts> {
  return gatherFacts({ ...request, now: request.clock.now() });
}

async function lock(directory: string): Promise<DirectoryLock> {
  await makePrivateDirectory(directory);
  try {
    return await lockDirectory(directory);
  } catch (error) {
    if (!hasCode(error, 'STORE_LOCKED')) throw error;
    throw new AgentError('STORE_LOCKED', 'another nodecertd adopt is running', {
      remedy: 'Wait until the other command has finished, and run this command again',
    });
  }
}

function withInterruptedNote(plan: Plan, { runs }: AdoptionFacts): Plan {
  const run = unfinishedRun(runs);
  if (run === undefined) return plan;
  const note: Note = {
    id: 'cut-short',
    what: `an earlier run, started at ${run.manifest.startedAt}, was interrupted`,
    remedy:
      'Complete or repeat the run: nodecertd adopt --yes; or revert it: nodecertd adopt --revert --yes',
  };
  return { ...plan, notes: [note, ...plan.notes] };
}

/** While a kubelet rotates, its link is missing for a moment. */
const verifyTimeout = 2 * second;
const verifyInterval = second / 10;

/** Reads all files again, so that a change by another program is noticed. */
async function verify(request: AdoptionRequest, before: AdoptionFacts): Promise<void> {
  const { clock, signal } = request;
  for (let waited = 0; ; waited += verifyInterval) {
    const problem = problemOf(await factsNow(request), before);
    if (problem === undefined) return;
    if (waited >= verifyTimeout) {
      throw new AgentError('FILE_CHANGED', `another program changed the files: ${problem}`, {
        remedy: 'Stop the program that writes these files, and run this command again',
      });
    }
    await clock.sleep(verifyInterval, signal);
  }
}

function problemOf(facts: AdoptionFacts, before: AdoptionFacts): string | undefined {
  const { steps, obstacles } = planAdoption(facts);
  const [step] = steps;
  const [obstacle] = obstacles;
  if (obstacle !== undefined) return obstacle.what;
  if (step !== undefined) return `${step.file} differs from the content that nodecertd wrote`;
  const lost = (['client', 'serving'] as const).find(
    (name) => before[name]?.pair !== undefined && facts[name]?.pair === undefined,
  );
  return lost === undefined ? undefined : `${facts[lost]?.link ?? lost} is missing`;
}
