/**
 * Runs test files in the order given: node test/support/run-tests.ts [--at-once 4] FILE...
 * `node --test` sorts them, and the longest ones have to begin first. By default three at a time
 * on two cores, because end-to-end tests spend most of their time waiting.
 */
import { join } from 'node:path';
import { run } from 'node:test';
import { parseArgs } from 'node:util';
import { measureSlowness } from './measure-slowness.ts';
import reporter from './reporter.ts';

const { positionals: files, values } = parseArgs({
  options: { 'at-once': { type: 'string', default: '3' } },
  allowPositionals: true,
});
const concurrency = Number(values['at-once']);
if (files.length === 0) throw new Error('no test files given');

// Hundreds of processes load the same sources. With the cache, only the first one compiles them.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, '../../.cache/compile');
const { factor, start } = await measureSlowness();
process.stdout.write(
  `Agents start in ${(start / 1_000).toFixed(1)} s here; times in tests are multiplied by ${factor.toFixed(1)}.\n`,
);
process.env['NODECERTD_TEST_SLOWNESS'] = factor.toFixed(2);

/** Only a test that hangs takes so long. */
const timeout = 10 * 60_000 * factor;
const tests = run({ files, concurrency, timeout });
tests.on('test:fail', () => {
  process.exitCode = 1;
});
for await (const text of reporter(tests)) process.stdout.write(text);
