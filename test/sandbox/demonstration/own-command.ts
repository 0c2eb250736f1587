import { basename, dirname, join } from 'node:path';

/** What to type to run this very program, for hints: neither the sources nor a build that was just made is on the PATH. */
export function ownCommand(): string {
  const program = process.argv[1] ?? '';
  const lib = dirname(program);
  if (basename(program) !== 'main.js') return `${process.execPath} ${program}`;
  // Installed, the launcher is PREFIX/bin/nodecertd; where it was built, it stands one folder above.
  if (basename(lib) === 'nodecertd') return join(dirname(dirname(lib)), 'bin/nodecertd');
  return join(dirname(lib), 'nodecertd');
}
