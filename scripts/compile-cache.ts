/**
 * Fills the compile cache of dist/ with every piece of the program, for each set of
 * flags that Node keeps apart in the cache. A complete cache is never written to after
 * the installation, not even by root.
 *
 * Two builds must give the same bytes. Compiled code contains hashes of its strings, so
 * the seed is fixed. It also contains the path of its source, so the pieces are loaded
 * by a path that is the same on every machine.
 */
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const directory = resolve(process.argv[2] ?? 'dist/lib');
const filler = join(import.meta.dirname, 'fill-cache.cjs');

await rm(join(directory, 'cache'), { recursive: true, force: true });
// Of the flags in nodecertd.sh and app/enroller-program.ts, only this one changes the
// compiled code.
for (const flags of [[], ['--jitless']]) {
  const { status, stderr } = spawnSync(
    join(directory, 'node'),
    ['--hash-seed=1', '--random-seed=1', '--preserve-symlinks', ...flags, filler],
    // Variables such as NODE_OPTIONS would change the compiled code.
    { cwd: directory, env: {}, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`a piece of the program cannot be loaded:\n${stderr}`);
}
