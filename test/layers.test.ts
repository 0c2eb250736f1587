import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, it } from 'node:test';
import type { Layer } from '../scripts/layers.ts';
import { layers, unrestricted } from '../scripts/layers.ts';

/**
 * Checks imports against scripts/layers.ts. The linter uses the same table for direct imports, but
 * cannot follow imports through other files. The keeper, which is the long-lived process, must load
 * no key, no x509 and no API client through any file.
 */

interface Import {
  readonly specifier: string;
  /** Loaded at start: neither `import type` nor `import()`. */
  readonly loads: boolean;
}

/** Sources by path from the root of the project: `src/core/pem.ts`. */
type Sources = ReadonlyMap<string, string>;

const statement = /^\s*(import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;
const dynamic = /\bimport\(\s*['"`]([^'"`]+)['"`]/g;

/** Every import of a source text. `import { type A }` counts as loading, because Node loads that module. */
function importsOf(source: string): Import[] {
  const code = withoutComments(source);
  const fixed = [...code.matchAll(statement)].map(([, , type, specifier = '']) => ({
    specifier,
    loads: type === undefined,
  }));
  const later = [...code.matchAll(dynamic)].map(([, specifier = '']) => ({
    specifier,
    loads: false,
  }));
  return [...fixed, ...later];
}

function withoutComments(source: string): string {
  return source.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '');
}

function resolved(file: string, specifier: string): string {
  return specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier;
}

function folderOf(file: string): string {
  return file.split('/')[1] ?? '';
}

/** One sentence for each import that points the wrong way. */
function violations(sources: Sources): string[] {
  return [...sources].flatMap(([file, source]) =>
    importsOf(source).flatMap(({ specifier }) => {
      const reason = objection(file, resolved(file, specifier));
      return reason === undefined ? [] : [`${file} imports ${specifier}: ${reason}`];
    }),
  );
}

function objection(file: string, target: string): string | undefined {
  const folder = folderOf(file);
  if (target.startsWith('@peculiar/') && file !== 'src/core/x509.ts') {
    return 'only src/core/x509.ts is the door to @peculiar';
  }
  if (target === 'undici' || target.startsWith('undici/')) {
    return folder === 'kube' ? undefined : 'only src/kube talks to the API server';
  }
  if (folder === 'core' && target.startsWith('node:')) return 'core is pure';
  return target.startsWith('src/') ? wrongWay(folder, folderOf(target)) : undefined;
}

const folders: Readonly<Record<string, Layer>> = layers;
const tops: Readonly<Record<string, { readonly mayNotImport: readonly string[] }>> = unrestricted;

function wrongWay(from: string, to: string): string | undefined {
  if (from === to || from === 'main.ts') return undefined;
  const top = tops[from];
  if (top !== undefined) {
    return top.mayNotImport.includes(to) ? `${from} may not import ${to}` : undefined;
  }
  const allowed = folders[from]?.imports;
  if (allowed === undefined) return `${from} is not in scripts/layers.ts`;
  return allowed.includes(to)
    ? undefined
    : `${from} may import only ${[...allowed, from].join(', ')}`;
}

/** What the process that starts with `file` has in memory: each target with the chain of files that leads to it. */
function loadedBy(file: string, sources: Sources): Map<string, string> {
  const chains = new Map([[file, file]]);
  for (const [reached, chain] of chains) {
    for (const { specifier, loads } of importsOf(sources.get(reached) ?? '')) {
      const target = resolved(reached, specifier);
      if (loads && !chains.has(target)) chains.set(target, `${chain} → ${target}`);
    }
  }
  return chains;
}

/** What the keeper must never have loaded, and how it came by it. */
function keeperViolations(sources: Sources): string[] {
  const files = [...sources.keys()].filter((file) => keeperFolders.has(folderOf(file)));
  return files.flatMap((file) =>
    [...loadedBy(file, sources)]
      .filter(([target]) => isForbidden(target))
      .map(([, chain]) => chain),
  );
}

const keeperFolders = new Set(['keeper', 'metrics', 'sys', 'config']);

function isForbidden(target: string): boolean {
  return holdsKeys(target) || target.startsWith('src/store/');
}

function holdsKeys(target: string): boolean {
  return /^(@peculiar\/|undici(\/|$)|src\/core\/(x509|csr)\.ts$|src\/(kube|enroller)\/)/.test(
    target,
  );
}

function readSources(): Sources {
  const root = join(import.meta.dirname, '..');
  const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.d.ts'));
  return new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
}

const sources = readSources();

describe('src/', () => {
  it('has only the folders of scripts/layers.ts', () => {
    const known = new Set([...Object.keys(layers), ...Object.keys(unrestricted), 'main.ts']);
    const unknown = [...sources.keys()].filter((file) => !known.has(folderOf(file)));
    assert.deepEqual(unknown, []);
  });

  it('imports only in the direction of the arrows', () => {
    assert.deepEqual(violations(sources), []);
  });

  it('names every file it imports', () => {
    const missing = [...sources].flatMap(([file, source]) =>
      importsOf(source)
        .map(({ specifier }) => resolved(file, specifier))
        .filter((target) => target.startsWith('src/') && target.endsWith('.ts'))
        .filter((target) => !target.endsWith('.d.ts') && !sources.has(target))
        .map((target) => `${file} → ${target}`),
    );
    assert.deepEqual(missing, []);
  });

  it('never loads keys, x509 or the API client into the keeper, through any file', () => {
    assert.deepEqual(keeperViolations(sources), []);
  });

  /** The modules that `nodecertd run` loads in this order, each with a dynamic import of the next. */
  for (const entry of [
    'src/main.ts',
    'src/cli/program.ts',
    'src/cli/run.ts',
    'src/app/run-agent.ts',
  ]) {
    it(`loads no keys, x509 or API client through ${entry}`, () => {
      assert.ok(sources.has(entry));
      const found = [...loadedBy(entry, sources)].filter(([target]) => holdsKeys(target));
      assert.deepEqual(
        found.map(([, chain]) => chain),
        [],
      );
    });
  }

  it('starts the keeper without the code for hooks, which most agents do not use', () => {
    const loaded = loadedBy('src/app/run-agent.ts', sources);
    assert.ok(loaded.has('src/keeper/keeper.ts'));
    const later = ['post-rotation', 'hook-runner', 'hook-record', 'hook-attempt'];
    const found = later.filter((file) => loaded.has(`src/keeper/${file}.ts`));
    assert.deepEqual(found, []);
    assert.equal(loaded.has('src/sys/run-command.ts'), false);
  });

  it('contains the known imports, so that the checks above see them', () => {
    const seen = (file: string): string[] =>
      importsOf(sources.get(file) ?? '').map(({ specifier }) => specifier);
    assert.ok(seen('src/core/x509.ts').includes('@peculiar/x509'));
    assert.ok(seen('src/core/x509.ts').includes('./reflect-shim.ts'));
    assert.ok(seen('src/core/rotation.ts').includes('./rotation-state.ts'));
    assert.ok(sources.size > 50);
  });
});

describe('importsOf()', () => {
  const forms: readonly (readonly [string, string, readonly Import[]])[] = [
    ['a default import', `import pino from 'pino';`, [{ specifier: 'pino', loads: true }]],
    ['names', `import { a, b as c } from "./a.ts";`, [{ specifier: './a.ts', loads: true }]],
    [
      'names on lines of their own',
      `import {\n  a,\n  b,\n} from './a.ts';`,
      [{ specifier: './a.ts', loads: true }],
    ],
    ['a namespace', `import * as x from './a.ts';`, [{ specifier: './a.ts', loads: true }]],
    ['an import for its effect', `import './a.ts';`, [{ specifier: './a.ts', loads: true }]],
    ['types only', `import type { A } from './a.ts';`, [{ specifier: './a.ts', loads: false }]],
    [
      'a type among names',
      `import { type A } from './a.ts';`,
      [{ specifier: './a.ts', loads: true }],
    ],
    ['names passed on', `export { a } from './a.ts';`, [{ specifier: './a.ts', loads: true }]],
    ['everything passed on', `export * from './a.ts';`, [{ specifier: './a.ts', loads: true }]],
    [
      'types passed on',
      `export type { A } from './a.ts';`,
      [{ specifier: './a.ts', loads: false }],
    ],
    [
      'a dynamic import',
      `const a = await import('./a.ts');`,
      [{ specifier: './a.ts', loads: false }],
    ],
    [
      'a dynamic import over two lines',
      `await import(\n  './a.ts'\n)`,
      [{ specifier: './a.ts', loads: false }],
    ],
    ['a comment', `// import './a.ts';\n/**\n * import './b.ts'\n */`, []],
    ['an export of its own', `export const from = 'x';`, []],
  ];
  for (const [name, source, expected] of forms) {
    it(`reads ${name}`, () => assert.deepEqual(importsOf(source), expected));
  }
});

describe('violations()', () => {
  const made: readonly (readonly [string, string, string])[] = [
    ['src/core/a.ts', `import { b } from '../sys/b.ts';`, 'core may import only core'],
    ['src/core/a.ts', `import { readFile } from 'node:fs/promises';`, 'core is pure'],
    ['src/core/a.ts', `import type { Stats } from 'node:fs';`, 'core is pure'],
    ['src/core/a.ts', `import * as x509 from '@peculiar/x509';`, 'the door to @peculiar'],
    ['src/keeper/a.ts', `import { b } from '../store/b.ts';`, 'keeper may import only'],
    ['src/keeper/a.ts', `import type { B } from '../enroller/b.ts';`, 'keeper may import only'],
    ['src/keeper/a.ts', `await import('../kube/b.ts');`, 'keeper may import only'],
    ['src/enroller/a.ts', `export * from '../keeper/b.ts';`, 'enroller may import only'],
    ['src/store/a.ts', `import { request } from 'undici';`, 'only src/kube'],
    ['src/enroller/a.ts', `import Pool from 'undici/lib/dispatcher/pool.js';`, 'only src/kube'],
    ['src/cli/a.ts', `import { b } from '../keeper/b.ts';`, 'cli may not import keeper'],
    ['src/config/a.ts', `import { b } from '../sys/b.ts';`, 'config may import only'],
    ['src/util/a.ts', `import { b } from '../core/b.ts';`, 'not in scripts/layers.ts'],
  ];
  for (const [file, source, reason] of made) {
    it(`finds ${source} in ${file}`, () => {
      const [found, ...more] = violations(new Map([[file, source]]));
      assert.match(found ?? '', new RegExp(`^${file} imports .*${reason}`));
      assert.deepEqual(more, []);
    });
  }

  it('accepts the imports that scripts/layers.ts allows', () => {
    const fine = new Map([
      ['src/core/x509.ts', `import * as x509 from '@peculiar/x509';`],
      ['src/kube/client.ts', `import { Pool } from 'undici';\nimport { a } from '../sys/a.ts';`],
      [
        'src/enroller/a.ts',
        `import { a } from '../kube/a.ts';\nimport { b } from '../store/b.ts';`,
      ],
      ['src/app/run.ts', `import { a } from '../keeper/a.ts';`],
    ]);
    assert.deepEqual(violations(fine), []);
  });
});

describe('keeperViolations()', () => {
  it('finds an import through other files, and shows the chain', () => {
    const detour = new Map([
      ['src/keeper/rotator.ts', `import { a } from '../core/a.ts';`],
      ['src/core/a.ts', `import { sortedUnique } from './x509.ts';`],
      ['src/core/x509.ts', `import '@peculiar/x509';`],
    ]);
    assert.deepEqual(keeperViolations(detour), [
      'src/keeper/rotator.ts → src/core/a.ts → src/core/x509.ts',
      'src/keeper/rotator.ts → src/core/a.ts → src/core/x509.ts → @peculiar/x509',
    ]);
  });

  it('accepts a type-only import, and x509 loaded outside the keeper', () => {
    const fine = new Map([
      ['src/keeper/rotator.ts', `import type { A } from '../core/a.ts';`],
      ['src/core/a.ts', `import './x509.ts';`],
      ['src/enroller/a.ts', `import '../core/x509.ts';`],
    ]);
    assert.deepEqual(keeperViolations(fine), []);
  });

  it('ends on circular imports', () => {
    const circle = new Map([
      ['src/keeper/a.ts', `import './b.ts';`],
      ['src/keeper/b.ts', `import './a.ts';`],
    ]);
    assert.deepEqual(keeperViolations(circle), []);
  });
});
