import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { describeProgram } from '../../src/cli/program.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { codeOf, pages, read, root } from './pages.ts';

describe('README.md', () => {
  it('is short enough for a newcomer: 10 kB', async () => {
    const { size } = await stat(join(root, 'README.md'));
    assert.ok(size <= 10_000, `${size} bytes`);
  });
});

describe('links between pages', () => {
  for (const page of pages) {
    it(`lead somewhere in ${page}`, async () => {
      const links = (await read(page)).matchAll(
        /\]\((?!https?:)(?<file>[^)#]*)(?:#(?<part>[^)]*))?\)/g,
      );
      for (const { groups: { file = '', part } = {} } of links) {
        const target = file === '' ? page : join(dirname(page), file);
        assert.ok(existsSync(join(root, target)), `${page}: ${file} is not there`);
        if (part === undefined) continue;
        const anchors = (await read(target)).matchAll(/^#+ (?<title>.*)$/gm);
        const known = [...anchors].map(({ groups: { title = '' } = {} }) => anchorOf(title));
        assert.ok(known.includes(part), `${page}: ${file}#${part} is not there`);
      }
    });
  }
});

describe('commands on the pages', async () => {
  const { commands } = await describeProgram({
    stdout: process.stdout,
    stderr: process.stderr,
    environment: { hostName: 'here', workingDirectory: '/' },
    clock: new FakeClock(),
    startAgent: async () => 0,
    startApprover: async () => 0,
  });
  const flagsOf = new Map(
    commands.map(({ name, command }) => [
      name,
      new Set(command.options.flatMap(({ long, short }) => [long, short])).add('--help'),
    ]),
  );
  for (const name of flagsOf.keys()) {
    const [group = '', member] = name.split(' ');
    if (member !== undefined) flagsOf.set(group, new Set(['--help']));
  }
  // The default command of a group also runs without its name.
  flagsOf.set('approver', flagsOf.get('approver run') ?? new Set());

  // The changelog names commands that are gone.
  for (const page of pages.filter((page) => page !== 'CHANGELOG.md')) {
    it(`are commands of nodecertd in ${page}`, async () => {
      const shown = (await codeOf(page)).matchAll(
        /^\s*(?:sudo |[\w/]*\/)?nodecertd (?<line>[a-z][^\n#|;&]*)/gm,
      );
      for (const { groups: { line = '' } = {} } of shown) {
        const [first = '', second = ''] = line.split(' ');
        const isMember = commands.some(({ name }) => name.startsWith(`${first} `));
        const name = isMember && !second.startsWith('-') ? `${first} ${second}`.trim() : first;
        const flags = flagsOf.get(name);
        assert.ok(flags !== undefined, `${page}: ${line}`);
        for (const [flag] of line.matchAll(/(?<= )--?[a-z][a-z-]*/g)) {
          assert.ok(flags.has(flag), `${page}: ${flag} in ${line}`);
        }
      }
    });
  }
});

/** As GitHub makes it of a heading. */
function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number} _-]/gu, '')
    .replaceAll(' ', '-');
}
