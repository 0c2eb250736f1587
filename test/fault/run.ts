import { inspect, parseArgs } from 'node:util';
import { families } from './families.ts';
import type { FaultFamily, FaultRow } from './family.ts';
import { missingNeeds } from './needs.ts';
import { formatRows } from './table.ts';

/**
 * `make fault` tries every fault that this machine can produce and prints one table. It
 * continues after a failed family, and prints its error at the end.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});

const abort = new AbortController();
process.once('SIGINT', () => abort.abort());
const rows: FaultRow[] = [];
const failures: string[] = [];
for (const family of chosen(positionals)) {
  const missing = missingNeeds(family);
  if (missing.length > 0) {
    failures.push(`${family.name}: not tried, this machine lacks ${missing.join(', ')}`);
    continue;
  }
  await tryFamily(family);
  if (abort.signal.aborted) break;
}

say('');
say(formatRows(rows));
for (const failure of failures) say(`\nFAILED ${failure}`);
process.exitCode = failures.length > 0 || abort.signal.aborted ? 1 : 0;

async function tryFamily(family: FaultFamily): Promise<void> {
  const started = performance.now();
  say(`== ${family.name}`);
  const progress = (text: string): void => say(`   ${text}`);
  try {
    const options = { thorough: !values.quick, signal: abort.signal, progress };
    for await (const row of family.run(options)) rows.push(row);
    say(`   ${((performance.now() - started) / 1000).toFixed(0)} s`);
  } catch (error) {
    failures.push(`${family.name}: ${inspect(error, { depth: 8 })}`);
  }
}

function chosen(names: readonly string[]): readonly FaultFamily[] {
  if (names.length === 0) return families;
  const unknown = names.filter((name) => families.every((family) => family.name !== name));
  if (unknown.length > 0) {
    const known = families.map(({ name }) => name).join(', ');
    throw new Error(`no faults are called ${unknown.join(', ')}; there are ${known}`);
  }
  return families.filter(({ name }) => names.includes(name));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
