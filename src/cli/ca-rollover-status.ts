import type { Command } from 'commander';
import type { RolloverOptions } from './ca-rollover-options.ts';
import { accessOf, addRolloverOptions, questionOf } from './ca-rollover-options.ts';
import { rolloverDocument, rolloverExitCode, rolloverTable } from './ca-rollover-report.ts';
import { viewGates } from './ca-rollover-view.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';

export const exitCodes: ExitCodeMeanings = {
  0: 'every gate is open, or the cluster has one CA',
  1: 'the command itself failed',
  2: 'wrong usage',
  3: 'a gate is not open yet, or the credential may not read what it needs',
  4: 'something fails now, or fails as soon as a connection is cut; the table has the remedy',
};

/** `nodecertd ca-rollover status`: every gate, and what keeps it closed. Changes nothing. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addRolloverOptions(command)
    .addOption(outputOption())
    .action(async (options: RolloverOptions & { readonly output: OutputFormat }) => {
      using access = await accessOf(options);
      const progress = new Progress(context.stderr, context.clock).start();
      const view = await viewGates({
        ...questionOf(options, { access, context }),
        onStep: progress.note,
      }).finally(() => progress[Symbol.dispose]());
      const table = (): string => rolloverTable(view);
      context.stdout.write(await print(options.output, rolloverDocument(view), table));
      exit(rolloverExitCode(view.gates));
    });
}
