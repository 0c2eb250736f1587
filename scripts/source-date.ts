import { execFileSync } from 'node:child_process';

/**
 * The time of the last commit, which replaces the time of the build, so that two builds
 * of one commit are the same (https://reproducible-builds.org/specs/source-date-epoch).
 * @throws outside a repository, unless SOURCE_DATE_EPOCH is set
 */
export function sourceDate(): Date {
  const seconds = process.env['SOURCE_DATE_EPOCH'] ?? lastCommit();
  if (!/^\d+$/.test(seconds)) throw new Error(`SOURCE_DATE_EPOCH is not a number: ${seconds}`);
  return new Date(Number(seconds) * 1_000);
}

function lastCommit(): string {
  try {
    return execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' }).trim();
  } catch (cause) {
    throw new Error('no commit has a date: set SOURCE_DATE_EPOCH', { cause });
  }
}
