import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';

for (const stream of [process.stdout, process.stderr]) {
  // `nodecertd status | head -1`, or a terminal that was closed: a reader that is gone is no error.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
}

// The other role of this program, started by the agent itself. Each role loads only
// its own half: what answers the network has no code that touches keys.
if (process.argv[2] === 'enroller' && process.send !== undefined) void runEnroller();
else void runCommand();

async function runEnroller(): Promise<void> {
  const { runEnrollerProcess } = await import('./enroller/process.ts');
  runEnrollerProcess(async (...check) => {
    // Loaded when the checks run: the first key pair is stored sooner without it.
    const { checkNodeAtStart } = await import('./doctor/check-at-start.ts');
    return checkNodeAtStart(...check);
  });
}

async function runCommand(): Promise<void> {
  const runs = process.argv[2] === 'run' && !process.argv.includes('--check');
  const first = runs ? await startEnrollerEarly() : undefined;
  const { runCli } = await import('./cli/program.ts');
  const { systemClock } = await import('./sys/clock.ts');
  process.exitCode = await runCli(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    environment: { hostName: hostname(), workingDirectory: process.cwd() },
    clock: systemClock,
    startAgent: async (start) => {
      const { runUntilSignalled } = await import('./app/run-agent.ts');
      return runUntilSignalled({ ...start, started: first });
    },
  });
  // Without an agent to command it, for `run --help` or a bad configuration, it ends here.
  if (first?.connected === true) first.disconnect();
}

/**
 * An agent's first act is always to look at the directory, which the enroller does.
 * The two programs load side by side instead of one after the other.
 */
async function startEnrollerEarly(): Promise<ChildProcess> {
  const { startEnroller } = await import('./keeper/fork-enroller.ts');
  const { enrollerProgram } = await import('./app/enroller-program.ts');
  return startEnroller(enrollerProgram);
}
