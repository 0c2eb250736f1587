/** Milliseconds since the boot, without suspended time: CLOCK_MONOTONIC, as systemd uses it. */
export function monotonicUptime(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
