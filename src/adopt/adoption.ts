import type { AgentConfig } from '../core/config.ts';
import { AgentError, hasCode } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { DirectoryLock } from '../store/directory-lock.ts';
import { lockDirectory } from '../store/directory-lock.ts';
import type { Clock } from '../sys/clock.ts';
import { planAdoption } from './adoption-plan.ts';
import { applySteps, makePrivateDirectory } from './apply.ts';
import type { AdoptionFacts } from './facts.ts';
import { adoptDirectory, gatherFacts } from './facts.ts';
import type { Run } from './manifest.ts';
import type { Note, Plan } from './plan.ts';
import { completeRun, revertRuns, undoRun } from './revert.ts';
import { planRevert } from './revert-plan.ts';
import { readRuns, unfinishedRun } from './runs.ts';
import type { Tree } from './tree.ts';

export interface AdoptionRequest {
  readonly tree: Tree;
  readonly config: AgentConfig;
  /** Of the node; absent when it is not known, as that of an image. */
  readonly hostName?: string | undefined;
  readonly clock: Clock;
  readonly version: string;
  readonly signal: AbortSignal;
}

/** What was done, and how to undo just that. */
export interface Done {
  readonly plan: Plan;
  /** Absent when no file had to be changed, or none may be. */
  readonly run?: Run;
}

/** What `adopt` would do now. Changes nothing. */
export async function previewAdoption(request: AdoptionRequest): Promise<Plan> {
  const facts = await factsNow(request);
  return withCutShort(planAdoption(facts), facts);
}

/** What `adopt --revert` would do now. Changes nothing. */
export async function previewRevert(request: AdoptionRequest): Promise<Plan> {
  const facts = await factsNow(request);
  return withCutShort(await planRevert(request.tree, facts), facts);
}

/**
 * Brings an earlier run to its end, plans anew and makes the changes, all or none.
 * @throws AgentError as applySteps; STORE_LOCKED while another is at work
 */
export async function adopt(request: AdoptionRequest): Promise<Done> {
  const { tree, config, clock, version } = request;
  const directory = await adoptDirectory(tree, config);
  const preview = await factsNow(request);
  if (preview.runs.standing.length + preview.runs.done.length === 0) {
    // What is refused, or has nothing to do, leaves no trace, not even a folder.
    const plan = planAdoption(preview);
    if (plan.obstacles.length > 0 || plan.steps.length === 0) return { plan };
  }
  await using _ = await lock(directory);
  await completeRun({ tree, directory, runs: await readRuns(directory) });
  const facts = await factsNow(request);
  const plan = planAdoption(facts);
  if (plan.obstacles.length > 0 || plan.steps.length === 0) return { plan };
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
): Promise<Done> {
  const { tree, config } = request;
  const directory = await adoptDirectory(tree, config);
  const before = await factsNow(request);
  if (before.runs.standing.length + before.runs.done.length === 0) {
    return { plan: await planRevert(tree, before) };
  }
  await using _ = await lock(directory);
  const facts = await factsNow(request);
  const plan = await planRevert(tree, facts);
  if (plan.obstacles.length > 0 && !force) return { plan };
  await revertRuns({ tree, directory, runs: facts.runs }, { force });
  return { plan };
}

/** Takes one run back, for a kubelet that did not start with it. @throws AgentError FILE_CHANGED, STORE_* */
export async function undo({ tree, config }: AdoptionRequest, run: Run): Promise<void> {
  const directory = await adoptDirectory(tree, config);
  await using _ = await lock(directory);
  await undoRun({ tree, directory, run });
}

async function factsNow({
  tree,
  config,
  hostName,
  clock,
}: AdoptionRequest): Promise<AdoptionFacts> {
  return gatherFacts({ tree, config, hostName, now: clock.now() });
}

async function lock(directory: string): Promise<DirectoryLock> {
  await makePrivateDirectory(directory);
  try {
    return await lockDirectory(directory);
  } catch (error) {
    if (!hasCode(error, 'STORE_LOCKED')) throw error;
    throw new AgentError('STORE_LOCKED', 'another nodecertd adopt is at work', {
      remedy: 'Wait until it is done',
    });
  }
}

function withCutShort(plan: Plan, { runs }: AdoptionFacts): Plan {
  const run = unfinishedRun(runs);
  if (run === undefined) return plan;
  const note: Note = {
    id: 'cut-short',
    what: `an earlier run, begun at ${run.manifest.startedAt}, was cut short`,
    remedy:
      'nodecertd adopt --yes begins anew, nodecertd adopt --revert --yes puts everything back',
  };
  return { ...plan, notes: [note, ...plan.notes] };
}

/** A kubelet that rotates just now has no link for a moment: it is given this long. */
const patience = 2 * second;
const pause = second / 10;

/** Looks once more, as if for the first time: whatever somebody else did meanwhile shows here. */
async function verify(request: AdoptionRequest, before: AdoptionFacts): Promise<void> {
  const { clock, signal } = request;
  for (let waited = 0; ; waited += pause) {
    const trouble = troubleOf(await factsNow(request), before);
    if (trouble === undefined) return;
    if (waited >= patience) {
      throw new AgentError('FILE_CHANGED', `what was written did not last: ${trouble}`, {
        remedy: 'See who else works on these files, and run this again',
      });
    }
    await clock.sleep(pause, signal);
  }
}

function troubleOf(facts: AdoptionFacts, before: AdoptionFacts): string | undefined {
  const { steps, obstacles } = planAdoption(facts);
  const [step] = steps;
  const [obstacle] = obstacles;
  if (obstacle !== undefined) return obstacle.what;
  if (step !== undefined) return `${step.file} is not as it was written`;
  for (const name of ['client', 'serving'] as const) {
    const gone = before[name]?.pair !== undefined && facts[name]?.pair === undefined;
    if (gone) return `${facts[name]?.link ?? name} is gone`;
  }
  return undefined;
}
