import type { EnrollerProgram } from '../keeper/fork-enroller.ts';

/**
 * malloc overwrites freed memory, because OpenSSL frees the bytes of a parsed key without
 * clearing them. The per-thread cache is off, because it reuses memory without
 * overwriting it.
 */
const tunables = ['glibc.malloc.perturb=165', 'glibc.malloc.tcache_count=0'];

/**
 * For processes that read or create private keys. OpenSSL keeps keys in a secure heap that is
 * locked into memory and excluded from core dumps. A full heap makes key generation fail, so it
 * has room for about ninety RSA 4096 keys. If the limit on locked memory is lower, the heap is
 * not locked and OpenSSL prints a line on standard error.
 */
export const secureHeap = ['--secure-heap=262144', '--secure-heap-min=16'];

/**
 * The arguments that run this program as the enroller; see main.ts. With a large young
 * generation, a process that lives for a second needs few garbage collections.
 */
export const enrollerProgram: EnrollerProgram = {
  program: process.argv[1] ?? '',
  args: ['enroller'],
  execArgv: ['--min-semi-space-size=16', ...secureHeap],
  env: {
    GLIBC_TUNABLES: [process.env['GLIBC_TUNABLES'], ...tunables].filter(Boolean).join(':'),
  },
};
