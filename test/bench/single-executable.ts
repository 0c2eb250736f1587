import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { build } from 'esbuild';
import { target } from '../../scripts/program-pieces.ts';
import { enrollerProgram } from '../../src/app/enroller-program.ts';

/**
 * The program as one executable, Node's other way to bring the runtime along
 * (https://nodejs.org/api/single-executable-applications.html). It is not released in
 * this form; forms.ts shows why. Returns its launcher.
 */
export async function buildSingleExecutable(
  directory: string,
  keeperFlags: readonly string[],
): Promise<string> {
  mkdirSync(directory);
  const at = (name: string): string => join(directory, name);
  await build({
    entryPoints: ['src/main.ts'],
    outfile: at('main.cjs'),
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target,
    minify: true,
    legalComments: 'none',
    logLevel: 'error',
    plugins: [enrollerOfItself],
  });
  // Before, not afterwards: what is put into it is no part of the program for strip.
  execFileSync('strip', ['--remove-section=.comment', '-o', at('node'), process.execPath]);
  const configuration = {
    main: at('main.cjs'),
    output: at('nodecertd-sea'),
    executable: at('node'),
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    execArgvExtension: 'cli',
  };
  writeFileSync(at('sea.json'), JSON.stringify(configuration));
  execFileSync(at('node'), ['--build-sea', at('sea.json')], { stdio: 'ignore' });
  writeFileSync(at('nodecertd'), launcher(at('nodecertd-sea'), keeperFlags), { mode: 0o755 });
  return at('nodecertd');
}

/** Flags are an argument of their own here, and the program is not named. */
const enrollerOfItself: Plugin = {
  name: 'enroller',
  setup: (bundler) => {
    const itself = {
      ...enrollerProgram,
      program: 'enroller',
      args: [],
      execArgv: [`--node-options=${enrollerProgram.execArgv.join(' ')}`],
    };
    bundler.onLoad({ filter: /\/enroller-program\.ts$/ }, () => ({
      contents: `export const enrollerProgram = ${JSON.stringify(itself)};`,
    }));
  },
};

/** As scripts/nodecertd.sh; without warnings, since the code cache of a program with other flags is one. */
function launcher(executable: string, keeperFlags: readonly string[]): string {
  const options = ['--no-warnings', ...keeperFlags].join(' ');
  return `#!/bin/sh
export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536
case "\${1-}" in
run) exec "${executable}" "--node-options=${options}" "$@" ;;
*) exec "${executable}" "$@" ;;
esac
`;
}
