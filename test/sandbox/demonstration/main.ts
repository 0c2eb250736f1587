/** `make run` starts this program: the sandbox, and with --agent a real agent. */
import { hostname } from 'node:os';
import { Command, CommanderError } from 'commander';
import { exitCodes } from '../../../src/cli/exit-code.ts';
import { formatError } from '../../../src/cli/print-error.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { configure } from './command.ts';

const program = new Command('sandbox')
  .description('A temporary certificates API on loopback, to watch the agent or to test a program.')
  .addHelpText(
    'after',
    `
Examples:
  # watch an agent bootstrap and rotate
  make run
  # the same, ending after three rotations
  make run ARGS="--rotations 3"
  # for another program
  node test/sandbox/demonstration/main.ts --directory ./sandbox --lifetime 10m`,
  )
  .exitOverride();
const context = {
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  environment: { hostName: hostname(), workingDirectory: process.cwd() },
};
configure(program, context, (code) => {
  process.exitCode = code;
});
try {
  await program.parseAsync();
} catch (error) {
  // Commander has printed the help or the usage error.
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
  else {
    process.stderr.write(formatError(error));
    process.exitCode = exitCodes.error;
  }
}
