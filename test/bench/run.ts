import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { kubernetesVersion } from '../support/programs.ts';
import { startRealControlPlane } from '../support/real-control-plane.ts';
import type { AgentProgram } from './agents.ts';
import { agentPrograms, leastProgram } from './agents.ts';
import { benchApprovers, fullSizes, quickSizes } from './approver.ts';
import { measureReader, readerPrograms } from './busy-reader.ts';
import { checkExpirationPrograms, measureCheckExpiration } from './check-expiration.ts';
import { inventoryPrograms, measureInventory } from './inventory.ts';
import { measureIdle, measureRotations, measureStarts } from './measures.ts';
import { measureRolloverStatus, rolloverPrograms } from './rollover-status.ts';
import { formatTable } from './table.ts';

/**
 * `make bench` compares nodecertd with other programs and prints tables. The figures of two runs
 * are not comparable, but their ratios roughly are.
 */
const { values: options } = parseArgs({
  options: {
    /** Some of `parts`, separated by commas. */
    only: { type: 'string' },
    starts: { type: 'string', default: '9' },
    rotations: { type: 'string', default: '10' },
    'storm-seconds': { type: 'string', default: '60' },
    'limit-seconds': { type: 'string', default: '240' },
    'idle-seconds': { type: 'string', default: '60' },
    'rollover-nodes': { type: 'string', default: '10000' },
    'rollover-namespaces': { type: 'string', default: '1000' },
    'inventory-files': { type: 'string', default: '10000,100000' },
    repetitions: { type: 'string', default: '5' },
    renewals: { type: 'string', default: '1000' },
    /** Small numbers for the part approver. */
    quick: { type: 'boolean', default: false },
    'approver-measures': { type: 'string' },
    'approver-programs': { type: 'string' },
  },
});

const directory = mkdtempSync(join(tmpdir(), 'nodecertd-bench-'));
process.once('exit', () => {
  rmSync(directory, { recursive: true, force: true });
});

/** Each prints its tables. */
const parts: Readonly<Record<string, () => Promise<void>>> = {
  agents: compareAgents,
  inventory: compareInventories,
  'check-expiration': async () => {
    say(`certs check-expiration: ${options.repetitions} runs each ...`);
    const rows = await measureCheckExpiration(Number(options.repetitions));
    say(`\n${formatTable(checkExpirationPrograms, rows)}\n`);
  },
  reader: async () => {
    say(`A reader of certificate and key: ${options.renewals} renewals each ...`);
    const rows = await measureReader(Number(options.renewals));
    say(`\n${formatTable(readerPrograms, rows)}\n`);
  },
  'ca-rollover': async () => {
    const nodes = Number(options['rollover-nodes']);
    const namespaces = Number(options['rollover-namespaces']);
    say(`ca-rollover status: ${nodes} Nodes and ${namespaces} namespaces ...`);
    const repetitions = Number(options.repetitions);
    const rows = await measureRolloverStatus({ directory, nodes, namespaces, repetitions });
    say(`\n${formatTable(rolloverPrograms, rows)}\n`);
  },
  approver: () =>
    benchApprovers({
      sizes: options.quick ? quickSizes : fullSizes,
      measures: options['approver-measures']?.split(','),
      programs: options['approver-programs']?.split(','),
      say,
    }),
};

say(
  `Machine: ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), Linux ${release()}, Node ${process.version}, Kubernetes ${kubernetesVersion()}`,
);
for (const name of options.only?.split(',') ?? Object.keys(parts)) {
  const part = parts[name];
  if (part === undefined) throw new Error(`the parts are ${Object.keys(parts).join(', ')}`);
  await part();
}

async function compareAgents(): Promise<void> {
  const programs = agentPrograms();
  say(`Comparing ${programs.map(({ name }) => name).join(' and ')}`);
  await using plane = await startRealControlPlane({ signingSeconds: 20 });
  const bench = { plane, programs, directory };
  say(`1/3 first pairs: ${options.starts} starts each ...`);
  const starting = [...programs, leastProgram()];
  const starts = await measureStarts({ ...bench, programs: starting }, Number(options.starts));
  say(`2/3 rotations: certificates of 20 s, ${options['storm-seconds']} s or more ...`);
  const rotations = await measureRotations(bench, {
    rotations: Number(options.rotations),
    stormSeconds: Number(options['storm-seconds']),
    limitSeconds: Number(options['limit-seconds']),
  });
  say(`3/3 idle: certificates of a day, ${options['idle-seconds']} s ...`);
  await plane.setSigningSeconds(24 * 60 * 60);
  const idle = await measureIdle(bench, Number(options['idle-seconds']));
  say(`\n${formatTable(names(starting), starts)}`);
  say(`\n${formatTable(names(programs), [...rotations, ...idle])}\n`);
}

async function compareInventories(): Promise<void> {
  for (const files of options['inventory-files'].split(',').map(Number)) {
    say(`certs check-expiration with ${files} PEM files ...`);
    const repetitions = Number(options.repetitions);
    const rows = await measureInventory({ directory, files, repetitions });
    say(`\n${formatTable(inventoryPrograms, rows)}\n`);
  }
}

function names(of: readonly AgentProgram[]): readonly string[] {
  return of.map(({ name }) => name);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
