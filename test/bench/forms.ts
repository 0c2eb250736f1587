import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { builtPackage } from '../support/built-packages.ts';
import type { AgentProgram } from './agents.ts';
import { nodecertdAt } from './agents.ts';
import { RunningAgent } from './running-agent.ts';
import { buildSingleExecutable } from './single-executable.ts';
import type { Row } from './table.ts';
import { formatTable, median } from './table.ts';

/**
 * Compares the released bundle with a single executable, on the sandbox. Run it after
 * `make deb`: node test/bench/forms.ts [STARTS]
 */
const starts = Number(process.argv[2] ?? 9);
const idleMs = 10_000;

interface Form {
  readonly program: AgentProgram;
  /** The size of all installed files of the program. */
  readonly paths: readonly string[];
}

const directory = mkdtempSync(join(tmpdir(), 'nodecertd-forms-'));
process.once('exit', () => {
  rmSync(directory, { recursive: true, force: true });
});

say(
  `Machine: ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), Node ${process.version}`,
);
say('Building the forms ...');
const forms = [packaged(), await single('jitless', keeperFlags()), await single('with JIT', [])];
await using sandbox = await startSandbox({ clock: systemClock, signingSeconds: 86_400 });
say(`Starting each ${starts} times, and once for ${idleMs / 1_000} s idle ...`);
const speeds: number[][] = forms.map(() => []);
for (let round = 0; round < starts; round += 1) {
  for (const [index, { program }] of forms.entries()) {
    await using agent = await run(program, `start-${round}-${index}`);
    speeds[index]?.push(agent.firstPairAfter);
  }
}
const memory = await Promise.all(forms.map(async ({ program }, index) => idle(program, index)));
say('Compressing each like a package (two minutes) ...');
const rows: Row[] = [
  { label: 'compressed, MB', values: forms.map(compressed) },
  { label: 'installed, MB', values: forms.map(installed) },
  { label: `start → first pair, ms (median of ${starts})`, values: speeds.map(median), digits: 0 },
  { label: '… least', values: speeds.map((times) => Math.min(...times)), digits: 0 },
  { label: 'RssAnon of the idle keeper, MB', values: memory },
];
say('');
say(
  formatTable(
    forms.map(({ program }) => program.name),
    rows,
  ),
);

function packaged(): Form {
  execFileSync('dpkg-deb', ['--extract', builtPackage.file, join(directory, 'deb')]);
  const usr = join(directory, 'deb/usr');
  const program = nodecertdAt('runtime and bundle', join(usr, 'bin/nodecertd'));
  return { program, paths: [join(usr, 'bin'), join(usr, 'lib/nodecertd')] };
}

async function single(name: string, flags: readonly string[]): Promise<Form> {
  const launcher = await buildSingleExecutable(join(directory, name.replace(' ', '-')), flags);
  const paths = [launcher, join(dirname(launcher), 'nodecertd-sea')];
  return { program: nodecertdAt(`single, ${name}`, launcher), paths };
}

/** The flags from scripts/nodecertd.sh. */
function keeperFlags(): string[] {
  const script = readFileSync(join(import.meta.dirname, '../../scripts/nodecertd.sh'), 'utf8');
  const line = /^run\) exec .*$/m.exec(script)?.[0] ?? '';
  return line.split(' ').filter((word) => word.startsWith('--'));
}

async function run(program: AgentProgram, nodeName: string): Promise<RunningAgent> {
  const agent = await RunningAgent.start({
    program,
    nodeName,
    directory,
    apiPort: Number(new URL(sandbox.server).port),
    bootstrapKubeconfig: sandbox.bootstrapKubeconfig(),
  });
  await agent.linked(1, AbortSignal.timeout(30_000));
  return agent;
}

async function idle(program: AgentProgram, index: number): Promise<number> {
  await using agent = await run(program, `idle-${index}`);
  await delay(idleMs);
  return agent.usage().mainRssAnon;
}

function installed({ paths }: Form): number {
  const output = execFileSync('du', ['--bytes', '--summarize', '--total', ...paths]).toString();
  return Number(/^(\d+)\ttotal$/m.exec(output)?.[1]) / 1e6;
}

/** Compresses as dpkg-deb does: see scripts/write-deb.ts. */
function compressed({ paths }: Form): number {
  const archive = 'tar --create --absolute-names "$@" | xz -6 --threads=1 | wc --bytes';
  return Number(execFileSync('bash', ['-c', archive, 'bash', ...paths]).toString()) / 1e6;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
