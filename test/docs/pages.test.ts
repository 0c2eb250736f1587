import assert from 'node:assert/strict';
import { existsSync, globSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { describeProgram } from '../../src/cli/program.ts';
import { conditions } from '../../src/cli/status-report.ts';
import { errorCodes } from '../../src/core/errors.ts';
import { logEvents } from '../../src/core/log-events.ts';
import { certificateStates } from '../../src/core/status.ts';
import { everyMetric } from '../metrics/every-metric.ts';
import { scrape } from '../metrics/exposition.ts';
import { FakeClock } from '../support/fake-clock.ts';

const root = join(import.meta.dirname, '../..');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...globSync('docs/*.md', { cwd: root }).toSorted(),
];

async function read(page: string): Promise<string> {
  return readFile(join(root, page), 'utf8');
}

describe('operations.md', async () => {
  const text = await read('docs/operations.md');

  /** The first cells of the rows below a heading of this table, and whether the others say something. */
  function rowsBelow(heading: string): string[] {
    const [, ...lines] = text
      .slice(text.indexOf(`\n| ${heading} |`))
      .trim()
      .split('\n');
    const rows = lines.slice(1, lines.indexOf(''));
    return rows.map((row) => {
      const [first = '', ...others] = row
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim());
      assert.ok(others.every(Boolean), `${first}: an empty cell`);
      return first.replaceAll('`', '');
    });
  }

  it('explains every state and every condition', () => {
    assert.deepEqual(rowsBelow('state').toSorted(), [...certificateStates].toSorted());
    assert.deepEqual(rowsBelow('condition').toSorted(), [...conditions].toSorted());
  });

  it('says of every alert what to do', async () => {
    const { groups } = parse(await read('config/prometheus-rules.yaml')) as {
      readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
    };
    const alerts = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));
    assert.deepEqual(rowsBelow('alert').toSorted(), alerts.toSorted());
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

/** Code on a page: blocks and spans, each on lines of its own. */
async function codeOf(page: string): Promise<string> {
  const code = (await read(page)).matchAll(/```\w*\n(?<block>.*?)```|`(?<span>[^`\n]+)`/gs);
  return [...code].map(({ groups: { block, span } = {} }) => block ?? span).join('\n');
}

describe('names on the pages', async () => {
  const makefile = await read('Makefile');
  const targets = new Set([...makefile.matchAll(/^([a-z][a-z0-9-]*):/gm)].map(([, name]) => name));
  const { types } = await scrape(everyMetric());
  const known: ReadonlySet<string> = new Set([...types.keys(), ...Object.keys(logEvents)]);

  for (const page of pages) {
    it(`are files of the repository in ${page}`, async () => {
      const paths = (await codeOf(page)).matchAll(
        /(?<=^|\s)(?:src|test|scripts|config|docs|systemd)\/[\w./-]*/gm,
      );
      for (const [path] of paths) assert.ok(existsSync(join(root, path)), path);
    });

    it(`are targets of the Makefile in ${page}`, async () => {
      for (const [, target = ''] of (await codeOf(page)).matchAll(/^make ([a-z][a-z0-9-]*)/gm)) {
        assert.ok(targets.has(target), target);
      }
    });

    it(`are metrics or log events of the program in ${page}`, async () => {
      for (const [name] of (await codeOf(page)).matchAll(/^[a-z]+(?:_[a-z]+)+$/gm)) {
        assert.ok(known.has(name) || environment.test(name), name);
      }
    });

    it(`are error codes of the program in ${page}`, async () => {
      for (const [name] of (await codeOf(page)).matchAll(/^[A-Z]+(?:_[A-Z]+)+$/gm)) {
        assert.ok(codes.has(name) || environment.test(name), name);
      }
    });
  }
});

const codes: ReadonlySet<string> = new Set(errorCodes);
/** Variables that hooks, plugins and the proxy settings use. */
const environment = /^(?:NODECERTD|KUBERNETES|AWS|HTTPS?|NO)_/i;

describe('README.md', () => {
  it('is short enough for a newcomer: 10 kB', async () => {
    const { size } = await stat(join(root, 'README.md'));
    assert.ok(size <= 10_000, `${size} bytes`);
  });
});

describe('commands on the pages', async () => {
  const { commands } = await describeProgram({
    stdout: process.stdout,
    stderr: process.stderr,
    environment: { hostName: 'here', workingDirectory: '/' },
    clock: new FakeClock(),
    startAgent: async () => 0,
  });
  const flagsOf = new Map(
    commands.map(({ command }) => [
      command.name(),
      new Set(command.options.flatMap(({ long, short }) => [long, short])).add('--help'),
    ]),
  );

  // The changelog names commands that are gone.
  for (const page of pages.filter((page) => page !== 'CHANGELOG.md')) {
    it(`are commands of nodecertd in ${page}`, async () => {
      const shown = (await codeOf(page)).matchAll(
        /^\s*(?:sudo |[\w/]*\/)?nodecertd (?<name>[a-z]+)(?<rest>[^\n#|;&]*)/gm,
      );
      for (const { 0: text, groups: { name = '', rest = '' } = {} } of shown) {
        const flags = flagsOf.get(name);
        assert.ok(flags !== undefined, `${page}: ${text}`);
        for (const [flag] of rest.matchAll(/(?<= )--?[a-z][a-z-]*/g)) {
          assert.ok(flags.has(flag), `${page}: ${flag} in ${text}`);
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
