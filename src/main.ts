import type { ChildProcess } from 'node:child_process';
import { hostname } from 'node:os';
import { excludeMemoryFromCoreDumps } from './sys/core-dump.ts';

excludeMemoryFromCoreDumps();

for (const stream of [process.stdout, process.stderr]) {
  // A closed reader, as in `nodecertd status | head -1`, is not an error.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
}

// The keeper starts this program again as its enroller. Each process loads only its own
// half, so the process that answers the network has no code that touches keys.
if (process.argv[2] === 'enroller' && process.send !== undefined) void runEnroller();
else void runCommand();

async function runEnroller(): Promise<void> {
  const { runEnrollerProcess } = await import('./enroller/process.ts');
  // Loaded only when they run, so that the first key pair is stored sooner.
  runEnrollerProcess({
    checkNode: async (...check) => {
      const { checkNodeAtStart } = await import('./doctor/check-at-start.ts');
      return checkNodeAtStart(...check);
    },
    discover: async (...discovery) => {
      const { discoverCluster } = await import('./discovery/discover-cluster.ts');
      return discoverCluster(...discovery);
    },
  });
}

async function runCommand(): Promise<void> {
  const runs = process.argv[2] === 'run' && !process.argv.includes('--check');
  const first = runs ? await startEnrollerEarly() : undefined;
  const { runCli } = await import('./cli/program.ts');
  const { systemClock } = await import('./sys/clock.ts');
  process.exitCode = await runCli(process.argv.slice(2), {
    ...(process.stdin.isTTY && { ask }),
    stdout: process.stdout,
    stderr: process.stderr,
    environment: {
      get hostName() {
        return hostname();
      },
      workingDirectory: process.cwd(),
    },
    clock: systemClock,
    startAgent: async (start) => {
      const { runUntilSignaled } = await import('./app/run-agent.ts');
      return runUntilSignaled({ ...start, started: first });
    },
    startApprover: async (start) => {
      const { runApproverUntilSignaled } = await import('./app/run-approver.ts');
      return runApproverUntilSignaled(start);
    },
  });
  // `run --help` and an invalid configuration start no agent, so the enroller ends here.
  if (first?.connected === true) first.disconnect();
}

/** On standard error, because standard output may be a pipe. */
async function ask(question: string): Promise<string> {
  const { createInterface } = await import('node:readline/promises');
  using lines = createInterface({ input: process.stdin, output: process.stderr });
  return await lines.question(question);
}

/**
 * The agent always starts by having the enroller inspect the certificate directory, so
 * both processes load at the same time. On two cores, the first certificate is stored
 * after 335 ms instead of 393 ms (medians); memory stays the same.
 */
async function startEnrollerEarly(): Promise<ChildProcess> {
  const { startEnroller } = await import('./keeper/fork-enroller.ts');
  const { enrollerProgram } = await import('./app/enroller-program.ts');
  return startEnroller(enrollerProgram);
}
