/**
 * The names of temporary files contain the time in nanoseconds, which is a plain counter here, so that
 * strace can know them.
 */
let moment = 0n;

export function countFrom(start: number): void {
  moment = BigInt(start);
}

export function replaceNanoseconds(): void {
  process.hrtime.bigint = () => (moment += 1n);
}
