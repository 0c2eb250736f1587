/**
 * Fills the compile cache of dist/: every piece of the program, for each set of flags
 * that the cache tells apart. With all of them there, nothing is ever missing and so
 * nothing is written where the program is installed, not even by root.
 *
 * Two builds give the same bytes. Compiled code contains hashes of its strings, so the
 * seed is fixed; and it contains the path of its source, so the pieces are loaded by
 * one that is the same on every machine.
 */
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const directory = resolve(process.argv[2] ?? 'dist/lib');
const filler = join(import.meta.dirname, 'fill-cache.cjs');

await rm(join(directory, 'cache'), { recursive: true, force: true });
// Of the flags in nodecertd.sh and app/enroller-program.ts only this one counts.
for (const flags of [[], ['--jitless']]) {
  const { status, stderr } = spawnSync(
    join(directory, 'node'),
    ['--hash-seed=1', '--random-seed=1', '--preserve-symlinks', ...flags, filler],
    // Variables such as NODE_OPTIONS would change what is compiled.
    { cwd: directory, env: {}, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`a piece of the program cannot be loaded:\n${stderr}`);
}
