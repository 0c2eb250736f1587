import { setTimeout as delay } from 'node:timers/promises';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import type { AgentProgram } from './agents.ts';
import { IssueWatch } from './issue-watch.ts';
import type { ProcessUsage } from './process-usage.ts';
import { RunningAgent } from './running-agent.ts';
import type { Row } from './table.ts';
import { median } from './table.ts';

export interface Bench {
  readonly plane: RealControlPlane;
  readonly programs: readonly AgentProgram[];
  /** The folder for the files of the agents. */
  readonly directory: string;
}

async function startAgent(
  { plane, directory }: Bench,
  program: AgentProgram,
  nodeName: string,
): Promise<RunningAgent> {
  return RunningAgent.start({
    program,
    nodeName,
    directory,
    apiPort: Number(new URL(plane.server).port),
    bootstrapKubeconfig: await plane.bootstrapKubeconfig(),
  });
}

/**
 * Measures the time from process start to the first pair on disk. The agents alternate,
 * so that none profits from a warmer machine.
 */
export async function measureStarts(bench: Bench, repetitions: number): Promise<Row[]> {
  await using issues = new IssueWatch(bench.plane.admin);
  const starts = bench.programs.map(() => ({ times: [] as number[], delays: [] as number[] }));
  for (let round = 0; round < repetitions; round += 1) {
    for (const [index, program] of bench.programs.entries()) {
      await using agent = await startAgent(bench, program, `start-${index}-${round}`);
      await agent.linked(1, AbortSignal.timeout(30_000));
      starts[index]?.times.push(agent.firstPairAfter);
      starts[index]?.delays.push(...delays(agent, issues));
    }
  }
  const row = (label: string, pick: (start: (typeof starts)[number]) => number): Row => ({
    label,
    values: starts.map(pick),
  });
  return [
    row(`start → first pair, ms (median of ${repetitions})`, ({ times }) => median(times)),
    row('start → first pair, ms (least)', ({ times }) => Math.min(...times)),
    row('… of it issued → linked, ms (median)', ({ delays }) => median(delays)),
    row('… of it issued → linked, ms (least)', ({ delays }) => Math.min(...delays)),
  ];
}

/** Milliseconds from the time a certificate was visible until it was linked. */
function delays(agent: RunningAgent, issues: IssueWatch): number[] {
  return agent.links.flatMap(({ leaf, at }) => {
    const issued = issues.issuedAt(leaf);
    return issued === undefined ? [] : [at - issued];
  });
}

export interface RotationOptions {
  readonly rotations: number;
  /** The minimum run time, over which requests per minute are counted. */
  readonly stormSeconds: number;
  readonly limitSeconds: number;
}

/**
 * Runs the agents side by side with certificates so short that client-go's deadline has
 * always passed.
 */
export async function measureRotations(bench: Bench, options: RotationOptions): Promise<Row[]> {
  await using issues = new IssueWatch(bench.plane.admin);
  await using stack = new AsyncDisposableStack();
  const agents: RunningAgent[] = [];
  for (const program of bench.programs) {
    const agent = stack.use(await startAgent(bench, program, `rotate-${program.name}`));
    agents.push(agent);
    await agent.linked(1, AbortSignal.timeout(30_000));
  }
  const runs = await Promise.all(
    agents.map(async (agent) => followRotations(agent, { bench, issues, options })),
  );
  const column = (pick: (run: RotationRun) => number): number[] => runs.map(pick);
  return [
    { label: 'API requests per rotation', values: column((run) => run.requests), digits: 2 },
    {
      label: 'API requests beside, in the whole run',
      values: column((run) => run.others),
      digits: 0,
    },
    { label: 'kB to and from the API server per rotation', values: column((run) => run.kilobytes) },
    { label: 'issued → linked, ms (median)', values: column((run) => median(run.delays)) },
    { label: 'issued → linked, ms (most)', values: column((run) => Math.max(...run.delays)) },
    ...memoryRows(
      `after ${options.rotations} rotations`,
      runs.map(({ usage }) => usage),
    ),
    {
      label: 'RssAnon of the main process after 240 scrapes more (an hour), MB',
      values: column((run) => run.scrapedRssAnon),
    },
    { label: 'CPU s per 100 rotations', values: column((run) => run.cpuPer100), digits: 2 },
    { label: 'CSRs per minute with 20 s certificates', values: column((run) => run.csrsPerMinute) },
  ];
}

interface RotationRun {
  readonly requests: number;
  /** Requests for other resources than certificates. */
  readonly others: number;
  readonly kilobytes: number;
  readonly delays: readonly number[];
  readonly usage: ProcessUsage;
  /** NaN if the agent has no metrics. */
  readonly scrapedRssAnon: number;
  readonly cpuPer100: number;
  readonly csrsPerMinute: number;
}

async function followRotations(
  agent: RunningAgent,
  { bench, issues, options }: { bench: Bench; issues: IssueWatch; options: RotationOptions },
): Promise<RotationRun> {
  const user = `system:node:${agent.nodeName}`;
  const startedAt = Date.now();
  const from = { bytes: agent.bytes, links: agent.links.length, cpu: agent.usage().cpuSeconds };
  const storm = delay(options.stormSeconds * 1_000);
  await agent.linked(
    from.links + options.rotations,
    AbortSignal.timeout(options.limitSeconds * 1_000),
  );
  // Waits until the process has freed what the last rotation needed.
  await delay(2_000);
  const usage = agent.usage();
  const rotations = agent.links.length - from.links;
  const bytes = agent.bytes - from.bytes;
  const until = Date.now();
  const scraped = await agent.scrape(scrapesPerHour);
  const scrapedRssAnon = scraped ? agent.usage().mainRssAnon : Number.NaN;
  await storm;

  const requests = (await bench.plane.requests()).filter(
    (request) => request.user === user && request.receivedAt >= startedAt,
  );
  const csrs = requests.filter(isNewCsr);
  return {
    requests: requests.filter((one) => isForCsr(one) && one.receivedAt <= until).length / rotations,
    others: requests.filter((one) => !isForCsr(one)).length,
    kilobytes: bytes / rotations / 1_000,
    delays: delays(agent, issues),
    usage,
    scrapedRssAnon,
    cpuPer100: ((usage.cpuSeconds - from.cpu) / rotations) * 100,
    csrsPerMinute: (csrs.length / (Date.now() - startedAt)) * 60_000,
  };
}

/** Every 15 seconds. */
const scrapesPerHour = 240;

function isForCsr({ resource }: { readonly resource: string }): boolean {
  return resource.startsWith('certificatesigningrequests');
}

function isNewCsr({
  verb,
  resource,
}: {
  readonly verb: string;
  readonly resource: string;
}): boolean {
  return verb === 'create' && resource === 'certificatesigningrequests';
}

/** The CPU time of an idle agent, whose certificate is valid for hours. */
export async function measureIdle(bench: Bench, seconds: number): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const agents: RunningAgent[] = [];
  for (const program of bench.programs) {
    const agent = stack.use(await startAgent(bench, program, `idle-${program.name}`));
    agents.push(agent);
    await agent.linked(1, AbortSignal.timeout(30_000));
  }
  await delay(5_000);
  const before = agents.map((agent) => agent.usage().threadSeconds);
  await delay(seconds * 1_000);
  const usages = agents.map((agent) => agent.usage());
  const perMinute = usages.map(
    ({ threadSeconds }, index) => ((threadSeconds - (before[index] ?? 0)) * 60_000) / seconds,
  );
  return [
    { label: `CPU ms per idle minute (over ${seconds} s)`, values: perMinute },
    ...memoryRows('idle', usages),
  ];
}

function memoryRows(when: string, usages: readonly ProcessUsage[]): Row[] {
  const row = (name: string, pick: (usage: ProcessUsage) => number): Row => ({
    label: `${name} ${when}, MB`,
    values: usages.map(pick),
  });
  return [
    row('RssAnon of the main process', (usage) => usage.mainRssAnon),
    row('RssAnon of all processes', (usage) => usage.treeRssAnon),
    row('RSS of the main process', (usage) => usage.mainRss),
    row('RSS of all processes', (usage) => usage.treeRss),
  ];
}
