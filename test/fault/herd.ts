import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';
import { broken, describeLoad, perSecond } from './herd/judge.ts';
import { play } from './herd/scenario.ts';
import type { Outcome, Scenario } from './herd/scenario.ts';
import { scenarios } from './herd/scenarios.ts';
import type { Load } from './herd/traffic.ts';

/**
 * Simulates a hundred thousand nodes in virtual time, with the agent's real schedule,
 * rotation and delays. Compares the requests to the API server and the CSRs in etcd
 * with those of client-go's certificate manager.
 */
export const herd: FaultFamily = {
  name: 'herd',
  needs: [],
  async *run({ thorough, signal, progress }: FaultOptions): AsyncGenerator<FaultRow> {
    const nodes = thorough ? 100_000 : 2_000;
    // Ten million requests a day take long to simulate, and only serve the comparison.
    const sample = thorough ? 10 : 1;
    for (const scenario of scenarios) {
      // The simulation never waits, so this is the chance to handle an interrupt.
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      progress(`${nodes} nodes: ${scenario.name}`);
      const ours = play(scenario, nodes, 'nodecertd');
      const theirs = enlarged(play(scenario, nodes / sample, 'client-go'), sample);
      for (const line of comparison(ours, theirs)) progress(line);
      const failures = broken(scenario, nodes, ours);
      if (failures.length > 0) {
        throw new Error(`${nodes} nodes, ${scenario.name}: ${failures.join('; ')}`);
      }
      yield rowOf(scenario, { nodes, ours, theirs });
    }
  },
};

/** Scales the load to a larger number of nodes. The dispersion stays that of the sample. */
function enlarged(outcome: Outcome, times: number): Outcome {
  const { load, judged, lost, stored, created, mostStanding, standing } = outcome;
  return {
    ...outcome,
    load: enlargedLoad(load, times),
    judged: enlargedLoad(judged, times),
    lost: lost * times,
    stored: stored * times,
    created: created * times,
    mostStanding: mostStanding * times,
    standing: standing * times,
  };
}

function enlargedLoad({ total, peak, worstMinute, mean, dispersion }: Load, times: number): Load {
  return {
    total: total * times,
    peak: peak * times,
    worstMinute: worstMinute * times,
    mean: mean * times,
    dispersion,
  };
}

interface Played {
  readonly nodes: number;
  readonly ours: Outcome;
  readonly theirs: Outcome;
}

function rowOf({ name, fatal }: Scenario, { nodes, ours, theirs }: Played): FaultRow {
  return {
    fault: `herd: ${name}`,
    tried: 2 * nodes,
    lost: fatal === true ? 0 : ours.lost,
    seen: [
      `requests/s (second/minute/mean) ${describeLoad(ours.load)}, client-go ${describeLoad(theirs.load)}`,
      `CSRs ${ours.created}, client-go ${theirs.created}`,
      `outstanding each ${ours.outstanding}, client-go ${theirs.outstanding}`,
    ],
  };
}

const headings = [
  'requests/s: second',
  'minute',
  'mean',
  'dispersion',
  'CSRs made',
  'most in etcd',
  'at the end',
  'outstanding each',
  'lost',
];

function comparison(ours: Outcome, theirs: Outcome): readonly string[] {
  const rows = [
    ['', ...headings],
    cellsOf('nodecertd', ours, ours.load),
    cellsOf('  from the fault on', ours, ours.judged),
    cellsOf('client-go', theirs, theirs.load),
    cellsOf('  from the fault on', theirs, theirs.judged),
  ];
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  return rows.map((cells) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths?.[0] ?? 0) : cell.padStart(widths?.[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

function cellsOf(name: string, outcome: Outcome, load: Outcome['load']): string[] {
  const { created, mostStanding, standing, outstanding, lost } = outcome;
  const rates = [String(load.peak), perSecond(load.worstMinute), perSecond(load.mean)];
  const cells = [name, ...rates, load.dispersion.toFixed(1)];
  if (load !== outcome.load) return cells;
  return [...cells, ...[created, mostStanding, standing, outstanding, lost].map(String)];
}
