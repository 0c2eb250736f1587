import { basename, dirname, join } from 'node:path';

/** What to type to run this very program, for hints: neither the sources nor a build that was just made is on the PATH. */
export function ownCommand(): string {
  const program = process.argv[1] ?? '';
  // The bundle's launcher stands one folder above it.
  if (basename(program) === 'main.js') return join(dirname(dirname(program)), 'nodecertd');
  return `${process.execPath} ${program}`;
}
