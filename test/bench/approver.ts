import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApproverPlane } from '../support/approver-plane.ts';
import { ApproverLoad } from './approver-load.ts';
import {
  compareRuns,
  measureFailOver,
  measureLatency,
  measureThroughput,
} from './approver-measures.ts';
import type { ApproverProgram } from './approver-programs.ts';
import { approverPrograms } from './approver-programs.ts';
import type { ApproverScene } from './approver-run.ts';
import type { Row } from './table.ts';
import { formatTable } from './table.ts';

export interface ApproverSizes {
  readonly few: number;
  readonly many: number;
  readonly decided: number;
  readonly latencies: number;
  readonly failOvers: number;
  readonly twice: number;
  /** How long a program rests before its memory is measured again. */
  readonly restSeconds: number;
}

export const fullSizes: ApproverSizes = {
  few: 1_000,
  many: 5_000,
  decided: 10_000,
  latencies: 300,
  failOvers: 5,
  twice: 10_000,
  restSeconds: 15,
};

/** To test the benchmark itself, in about two minutes. */
export const quickSizes: ApproverSizes = {
  few: 200,
  many: 500,
  decided: 500,
  latencies: 50,
  failOvers: 1,
  twice: 200,
  restSeconds: 1,
};

export interface ApproverBench {
  readonly sizes: ApproverSizes;
  /** Some of `approverMeasures`; all if absent. */
  readonly measures?: readonly string[] | undefined;
  /** The names of programs; all if absent. */
  readonly programs?: readonly string[] | undefined;
  readonly say: (line: string) => void;
}

interface Measure {
  /** The size of the scene, which has a control plane of its own. */
  readonly nodes: number;
  readonly decided: number;
  /** The programs that it can measure; all if absent. */
  readonly only?: readonly string[];
  readonly rows: (scene: ApproverScene, programs: readonly ApproverProgram[]) => Promise<Row[]>;
}

/** Prints a table for each measure. */
export async function benchApprovers(bench: ApproverBench): Promise<void> {
  const chosen = approverPrograms().filter(({ name }) => bench.programs?.includes(name) ?? true);
  const all = measures(bench.sizes);
  for (const name of bench.measures ?? Object.keys(all)) {
    const measure = all[name];
    if (measure === undefined) throw new Error(`the measures are ${Object.keys(all).join(', ')}`);
    const { nodes, decided, only } = measure;
    const programs = chosen.filter((program) => only?.includes(program.name) ?? true);
    bench.say(`Approvers, ${name}: ${nodes} Nodes and ${decided} decided CSRs ...`);
    await using stack = new AsyncDisposableStack();
    const parts = await startScene({ nodes, decided }, stack);
    const scene = { ...parts, restSeconds: bench.sizes.restSeconds };
    const rows = await measure.rows(scene, programs);
    bench.say(
      `\n${formatTable(
        programs.map((program) => program.name),
        rows,
      )}\n`,
    );
  }
}

function measures(sizes: ApproverSizes): Readonly<Record<string, Measure>> {
  const { few, many, decided, latencies, failOvers, twice } = sizes;
  return {
    few: {
      nodes: few,
      decided: 0,
      rows: (scene, programs) =>
        measureThroughput(scene, programs, { pending: few, what: `${few} pending` }),
    },
    many: {
      nodes: many,
      decided,
      rows: async (scene, programs) => [
        ...(await measureThroughput(scene, programs, {
          pending: few,
          what: `${few} pending beside ${decided} decided`,
        })),
        ...(await measureThroughput(scene, programs, {
          pending: many,
          what: `${many} pending beside ${decided} decided`,
        })),
      ],
    },
    latency: {
      nodes: few,
      decided: 0,
      rows: (scene, programs) => measureLatency(scene, programs, latencies),
    },
    'fail-over': {
      nodes: few,
      decided: 0,
      rows: (scene, programs) => measureFailOver(scene, programs, failOvers),
    },
    twice: {
      nodes: twice,
      decided: 0,
      only: ['nodecertd'],
      rows: (scene, programs) => compareRuns(scene, programs, twice),
    },
  };
}

/** Without controllers: signing would take a core, and 17 certificates per second at most. */
async function startScene(
  { nodes, decided }: { readonly nodes: number; readonly decided: number },
  stack: AsyncDisposableStack,
): Promise<Omit<ApproverScene, 'restSeconds'>> {
  const cluster = stack.use(await ApproverPlane.start());
  await cluster.plane.stopControllers();
  const adminKubeconfig = join(cluster.folder, 'admin.conf');
  writeFileSync(adminKubeconfig, await cluster.plane.adminKubeconfig(), { mode: 0o600 });
  const client = stack.use(cluster.plane.clientAs('bench', ['system:masters']));
  const load = new ApproverLoad(client);
  await load.createNodes(nodes);
  await load.createDecided(decided, nodes);
  const { kubeconfig, namespace, folder: directory } = cluster;
  return { cluster, load, nodes, place: { kubeconfig, adminKubeconfig, namespace, directory } };
}
