import type { EnrollerProgram } from '../keeper/fork-enroller.ts';

/**
 * Whatever malloc takes back is overwritten: OpenSSL frees the bytes of a key that it has
 * parsed as they are. The cache for each thread is left out, since it would pass memory
 * on without.
 */
const tunables = ['glibc.malloc.perturb=165', 'glibc.malloc.tcache_count=0'];

/**
 * This program in its other role; see main.ts. Room for young objects spares a
 * process that lives for a second most of its garbage collections.
 *
 * OpenSSL keeps keys in a heap of their own, locked into memory and left out of core
 * dumps. Where it is full no key can be made, so it has room for some ninety keys of the
 * largest kind; a lower limit on locked memory costs the lock and a line of OpenSSL's on
 * standard error, and nothing else.
 */
export const enrollerProgram: EnrollerProgram = {
  program: process.argv[1] ?? '',
  args: ['enroller'],
  execArgv: ['--min-semi-space-size=16', '--secure-heap=262144', '--secure-heap-min=16'],
  env: {
    GLIBC_TUNABLES: [process.env['GLIBC_TUNABLES'], ...tunables].filter(Boolean).join(':'),
  },
};
