import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toFailure } from '../../../src/core/errors.ts';
import { makeCorpus } from './corpus.ts';
import { targets } from './targets.ts';

/**
 * Repeats one input, which is base64 or a file with base64: node
 * test/fault/fuzz/repeat.ts TARGET INPUT
 */
const [name, given = ''] = process.argv.slice(2);
const target = targets.find((target) => target.name === name);
if (target === undefined) {
  throw new Error(`the targets are ${targets.map(({ name }) => name).join(', ')}`);
}
const input = Buffer.from(given.startsWith('/') ? readFileSync(given, 'utf8') : given, 'base64');
const directory = mkdtempSync(join(tmpdir(), 'nodecertd-fuzz-'));
const subject = await target.open({ corpus: await makeCorpus(), directory });
try {
  say(`result: ${await subject.feed(input)}`);
} catch (error) {
  say(JSON.stringify(toFailure(error), undefined, 2));
  throw error;
} finally {
  await subject.close?.();
  rmSync(directory, { recursive: true });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
