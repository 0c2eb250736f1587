import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { flagTargets } from '../../src/config/flags.ts';
import { loadConfig } from '../../src/config/load.ts';
import { renderJsonSchema } from '../../scripts/json-schema.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { plain, read, section, tableRows } from './pages.ts';

const text = await read('docs/configuration.md');

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly default?: unknown;
  readonly description?: string;
  readonly const?: string;
}

/** What the schema says of a key, in every profile that has it. */
interface Key {
  readonly required: boolean;
  readonly fallback: unknown;
  readonly described: boolean;
}

/** Every key of the file that is not a mere map of other keys, by its path. */
function keysOf(schema: Schema, above = ''): [string, Key][] {
  const forms = schema.anyOf ?? schema.oneOf ?? [schema];
  return forms.flatMap(({ properties = {}, required = [], items }) => [
    ...Object.entries(properties).flatMap(([name, key]): [string, Key][] => {
      const path = `${above}${name}`;
      // The default of a map consists of the defaults of its keys.
      if (key.properties !== undefined) return keysOf(key, `${path}.`);
      const own: Key = {
        required: required.includes(name),
        fallback: key.default ?? fromAbove(schema, path),
        described: key.description !== undefined || key.const !== undefined,
      };
      return [[path, own], ...(key.items === undefined ? [] : keysOf(key.items, `${path}[].`))];
    }),
    ...(items === undefined ? [] : keysOf(items, above)),
  ]);
}

/** `key` has the default `{ algorithm: … }` as a whole. */
function fromAbove(map: Schema, path: string): unknown {
  const whole = map.default as Readonly<Record<string, unknown>> | undefined;
  return whole?.[path.slice(path.lastIndexOf('.') + 1)];
}

const keys = Map.groupBy(keysOf(JSON.parse(renderJsonSchema()) as Schema), ([path]) => path);

function expectedDefault(of: readonly Key[]): string {
  const values = of.flatMap(({ fallback }) =>
    ['string', 'number', 'boolean'].includes(typeof fallback) ? [`\`${String(fallback)}\``] : [],
  );
  if (values.length > 0) return [...new Set(values)].toSorted().join(' ');
  return of.every(({ required }) => required) ? 'required' : '';
}

describe('configuration.md', () => {
  const rows = tableRows(section(text, 'All keys'));

  it('lists every key of the schema once, and no other', () => {
    const documented = rows.map(([key]) => plain(key));
    assert.deepEqual(documented.toSorted(), [...keys.keys()].toSorted());
  });

  it('gives the default of each key, and a meaning', () => {
    for (const [name = '', cell = '', meaning] of rows) {
      const of = keys.get(plain(name))?.map(([, key]) => key) ?? [];
      const shown = cell === 'required' ? cell : codeIn(cell);
      assert.equal(shown, expectedDefault(of), name);
      assert.ok(meaning, `${name}: no meaning`);
    }
  });

  it('names the key behind each flag', () => {
    const documented = tableRows(section(text, 'Flags')).map((row) =>
      row.map((cell) => codeIn(cell)),
    );
    const expected = Object.values(flagTargets).map(({ flag, path }) => [
      `\`${flag}\``,
      `\`${path.join('.')}\``,
    ]);
    assert.deepEqual(documented, expected);
  });
});

describe('README.md', () => {
  it('shows a sample that is valid and has no warnings', async (context) => {
    const file = join(await temporaryDirectory(context), 'config.yaml');
    await writeFile(file, /```yaml\n(.*?)```/s.exec(await read('README.md'))?.[1] ?? '');
    const environment = { hostName: 'worker-1', workingDirectory: '/' };
    const { certificates, warnings } = await loadConfig({ file, flags: {}, environment });
    assert.equal(certificates.length, 3);
    assert.deepEqual(warnings, []);
  });
});

describe('config.schema.json', () => {
  it('describes every key for editors', () => {
    const silent = [...keys].filter(([, forms]) => forms.some(([, { described }]) => !described));
    assert.deepEqual(
      silent.map(([path]) => path),
      [],
    );
  });
});

/** The code of a cell, in the order of the alphabet. */
function codeIn(cell: string): string {
  return (cell.match(/`[^`]*`/g) ?? []).toSorted().join(' ');
}
