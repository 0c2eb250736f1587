import { writeFileSync } from 'node:fs';

/**
 * Excludes all memory of this process, and of the programs that it starts, from core dumps: a
 * dump would contain private keys. A limit of 0 on core dumps is not enough, because the kernel
 * ignores it for a program that receives dumps, such as apport (core(5)).
 */
export function excludeMemoryFromCoreDumps(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
  } catch {
    // A kernel without core dumps does not have the file.
  }
}
