import { runCli } from '../../src/cli/program.ts';
import type { Instant } from '../../src/core/instant.ts';
import type { Ended } from '../support/doctor.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Runs a command that starts no process, at this time. */
export async function runInProcess(now: Instant, ...args: readonly string[]): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  const code = await runCli(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    environment: { hostName: 'here', workingDirectory: '/' },
    clock: new FakeClock(now),
    startAgent: async () => 0,
    startApprover: async () => 0,
  });
  return { code, stdout, stderr };
}
