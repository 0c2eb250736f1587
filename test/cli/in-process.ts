import { runCli } from '../../src/cli/program.ts';
import type { Instant } from '../../src/core/instant.ts';
import type { Clock } from '../../src/sys/clock.ts';
import type { Ended } from '../support/doctor.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Runs a command that starts no process and does not wait, at this time. */
export async function runInProcess(now: Instant, ...args: readonly string[]): Promise<Ended> {
  return runWithClock(new FakeClock(now), ...args);
}

/** Runs a command that starts no process. */
export async function runWithClock(clock: Clock, ...args: readonly string[]): Promise<Ended> {
  return runOnHost({ clock, hostName: 'here' }, ...args);
}

/** As `runWithClock()`, on a machine with this name. */
export async function runOnHost(
  { clock, hostName }: { readonly clock: Clock; readonly hostName: string },
  ...args: readonly string[]
): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  const code = await runCli(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    environment: { hostName, workingDirectory: '/' },
    clock,
    startAgent: async () => 0,
    startApprover: async () => 0,
  });
  return { code, stdout, stderr };
}
