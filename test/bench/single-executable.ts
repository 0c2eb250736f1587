import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';
import { build } from 'esbuild';
import { target } from '../../scripts/program-pieces.ts';
import { enrollerProgram } from '../../src/app/enroller-program.ts';

/**
 * Builds the program as a single executable
 * (https://nodejs.org/api/single-executable-applications.html) and returns its
 * launcher. nodecertd is not released in this form; forms.ts shows why.
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
  // Strip first: afterwards, strip would remove the embedded program.
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

/** A single executable takes Node's flags from one argument, and no program name. */
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

/**
 * Like scripts/nodecertd.sh, but without warnings, because a code cache for other flags
 * causes one.
 */
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
