/** The general rules of .oxlintrc.json, and one import rule for each folder of src/, made from layers.ts. */
import { defineConfig } from 'oxlint';
import base from './.oxlintrc.json' with { type: 'json' };
import { layers, unrestricted } from './scripts/layers.ts';

const everyFolder = [...Object.keys(layers), ...Object.keys(unrestricted)];

/** The same pattern must not match a package such as `undici/lib/core`: only relative imports name our folders. */
const importsOf = (folder: string): string[] => [`./${folder}/**`, `../**/${folder}/**`];

const onlyFrom = (folder: string, allowed: readonly string[]): object => {
  const forbidden = everyFolder.filter((other) => other !== folder && !allowed.includes(other));
  const patterns = [
    {
      group: [...forbidden.flatMap(importsOf), '../**/main.ts'],
      message: `src/${folder}/ may import only: ${[...allowed, folder].join(', ')}`,
    },
    ...(folder === 'core'
      ? [
          {
            group: ['node:*'],
            message: 'src/core/ is pure: no clock, randomness, files or network',
          },
        ]
      : []),
  ];
  return restrict(folder, patterns);
};

const restrict = (folder: string, patterns: readonly object[]): object => ({
  files: [`src/${folder}/**/*.ts`],
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

export default defineConfig({
  ...base,
  overrides: [
    ...Object.entries(layers).map(([folder, { imports }]) => onlyFrom(folder, imports)),
    ...Object.entries(unrestricted)
      .filter(([, { mayNotImport }]) => mayNotImport.length > 0)
      .map(([folder, { mayNotImport }]) =>
        restrict(folder, [
          {
            group: mayNotImport.flatMap(importsOf),
            message: `src/${folder}/ may not import: ${mayNotImport.join(', ')}`,
          },
        ]),
      ),
    ...base.overrides,
  ],
} as Parameters<typeof defineConfig>[0]);
