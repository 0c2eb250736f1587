import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { kubernetesVersion } from '../support/programs.ts';
import { startRealControlPlane } from '../support/real-control-plane.ts';
import type { AgentProgram } from './agents.ts';
import { agentPrograms, leastProgram } from './agents.ts';
import { inventoryPrograms, measureInventory } from './inventory.ts';
import { measureIdle, measureRotations, measureStarts } from './measures.ts';
import { formatTable } from './table.ts';

/**
 * `make bench` runs all agents on one real control plane and prints tables. The figures
 * of two runs are not comparable, but their ratios roughly are.
 */
const { values: options } = parseArgs({
  options: {
    starts: { type: 'string', default: '9' },
    rotations: { type: 'string', default: '10' },
    'storm-seconds': { type: 'string', default: '60' },
    'limit-seconds': { type: 'string', default: '240' },
    'idle-seconds': { type: 'string', default: '60' },
    'inventory-files': { type: 'string', default: '10000' },
  },
});

const directory = mkdtempSync(join(tmpdir(), 'nodecertd-bench-'));
process.once('exit', () => {
  rmSync(directory, { recursive: true, force: true });
});

const programs = agentPrograms();
say(
  `Comparing ${programs.map(({ name }) => name).join(' and ')} on Kubernetes ${kubernetesVersion()}`,
);
say(
  `Machine: ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), Linux ${release()}, Node ${process.version}`,
);
await using plane = await startRealControlPlane({ signingSeconds: 20 });
const bench = { plane, programs, directory };

say(`1/4 first pairs: ${options.starts} starts each ...`);
const starting = [...programs, leastProgram()];
const starts = await measureStarts({ ...bench, programs: starting }, Number(options.starts));
say(`2/4 rotations: certificates of 20 s, ${options['storm-seconds']} s or more ...`);
const rotations = await measureRotations(bench, {
  rotations: Number(options.rotations),
  stormSeconds: Number(options['storm-seconds']),
  limitSeconds: Number(options['limit-seconds']),
});
say(`3/4 idle: certificates of a day, ${options['idle-seconds']} s ...`);
await plane.setSigningSeconds(24 * 60 * 60);
const idle = await measureIdle(bench, Number(options['idle-seconds']));
say(`4/4 inventory: ${options['inventory-files']} PEM files ...`);
const inventory = await measureInventory(directory, {
  files: Number(options['inventory-files']),
  repetitions: 5,
});

say('');
say(formatTable(names(starting), starts));
say('');
say(formatTable(names(programs), [...rotations, ...idle]));
say('');
say(formatTable(inventoryPrograms, inventory));

function names(of: readonly AgentProgram[]): readonly string[] {
  return of.map(({ name }) => name);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
