import { hostname } from 'node:os';
import { runCli } from './cli/program.ts';
import { systemClock } from './sys/clock.ts';

for (const stream of [process.stdout, process.stderr]) {
  // `nodecertd status | head -1`: a reader that has seen enough is no error.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  environment: { hostName: hostname(), workingDirectory: process.cwd() },
  clock: systemClock,
});
