import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { optionsOf, readModel } from '../../../scripts/docs/cli-model.ts';
import { files } from '../../../scripts/docs/manual-facts.ts';
import { manPages } from '../../../scripts/docs/man-pages.ts';
import { literal, prose } from '../../../scripts/docs/roff.ts';
import type { ProgramModel } from '../../../src/cli/program.ts';
import { findProgram, skipWithout } from '../../support/programs.ts';

const run = promisify(execFile);

let directory = '';
let model: ProgramModel;
let pages: ReadonlyMap<string, string>;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-man-'));
  model = await readModel();
  pages = await manPages(model, { version: '1.2.3', date: new Date('2026-05-06T07:08:09Z') });
  for (const [name, text] of pages) await writeFile(join(directory, name), text);
});
after(async () => {
  await rm(directory, { recursive: true });
});

/** The page as a person reads it. */
async function rendered(name: string): Promise<string> {
  const args = ['-T', 'utf8', '-O', 'width=200', join(directory, name)];
  const { stdout } = await run(findProgram('mandoc') ?? 'mandoc', args);
  // Bold is a letter, a backspace and the letter again.
  // oxlint-disable-next-line no-control-regex -- the pattern has to match a backspace
  return stdout.replace(/.\u0008/g, '').replace(/\s+/g, ' ');
}

describe('manPages()', () => {
  it('returns a page for the program and for each command', () => {
    const commands = model.commands.map(({ name }) => `nodecertd-${name.replace(' ', '-')}.1`);
    assert.deepEqual([...pages.keys()], ['nodecertd.1', ...commands]);
    assert.ok(commands.includes('nodecertd-certs-check-expiration.1'));
  });

  it('contain the version and the given date only', () => {
    for (const [name, text] of pages) {
      const title = name.replace(/\.1$/, '').toUpperCase();
      assert.ok(text.startsWith(`.TH ${title} 1 2026-05-06 "nodecertd 1.2.3" `), name);
    }
  });
});

describe('manPages() in mandoc', { skip: skipWithout('mandoc') }, () => {
  it('return pages without a mandoc warning', async () => {
    const paths = [...pages.keys()].map((name) => join(directory, name));
    const mandoc = findProgram('mandoc') ?? 'mandoc';
    const { stdout, stderr } = await run(mandoc, ['-T', 'lint', '-W', 'warning', ...paths]);
    assert.deepEqual([stdout, stderr], ['', '']);
  });

  it('show all of the help of each command', async () => {
    for (const { name, command, examples, exitCodes } of model.commands) {
      const text = await rendered(`nodecertd-${name.replace(' ', '-')}.1`);
      const words = [`NAME nodecertd-${name.replace(' ', '-')} - `, `nodecertd ${name} [options]`];
      const options = optionsOf(command).flatMap(({ flags, value }) => [
        ...flags,
        ...(value.kind === 'words' ? value.words : []),
      ]);
      const lines = examples.map(([line]) => `nodecertd ${line}`);
      const meanings = Object.values(exitCodes).map((meaning) => meaning.slice(1));
      for (const part of [...words, ...options, ...lines, ...meanings]) {
        assert.ok(text.includes(part), `${name}: ${part}`);
      }
    }
  });

  it('lists every command in the page of the program', async () => {
    const text = await rendered('nodecertd.1');
    const [, list = ''] = / COMMANDS (.*) OPTIONS /.exec(text) ?? [];
    for (const { name, command } of model.commands) {
      assert.ok(list.includes(`${name} ${command.description().slice(0, 30)}`), name);
      assert.ok(text.includes(`nodecertd-${name.replace(' ', '-')}(1)`), name);
    }
  });

  it('name the files and variables in the page of the program', async () => {
    const text = await rendered('nodecertd.1');
    const names = (await files()).map(({ name }) => name);
    for (const part of [...names, 'NO_COLOR', 'nodecertd-doctor(1)']) {
      assert.ok(text.includes(part), part);
    }
    assert.ok(names.includes('/var/lib/nodecertd/state.json'), 'the defaults of the program');
  });
});

describe('roff', () => {
  it('prose() never begins a roff request, and keeps backslashes', () => {
    assert.equal(prose(".so /etc/passwd\n'br\na\\b"), "\\&.so /etc/passwd\n\\&'br\na\\eb");
  });

  it('literal() keeps hyphens, quotes, carets and tildes', () => {
    assert.equal(literal(`-o '~^"\``), '\\-o \\(aq\\(ti\\(ha\\(dq\\(ga');
  });
});
