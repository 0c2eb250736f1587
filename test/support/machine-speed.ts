/**
 * Tests on real processes and real certificates need time, and how much depends on the
 * machine. run-tests.ts measures once per run how long agents take to start and passes
 * the factor on; a file that is run by hand uses the times as they are written.
 */
export const slowness = Math.max(1, Number(process.env['NODECERTD_TEST_SLOWNESS'] ?? 1));

/** A lifetime, timeout or interval for this machine, in the unit of the argument. */
export function scaled(time: number): number {
  return Math.ceil(time * slowness);
}
