import type { Command } from 'commander';
import { findLocalNode } from '../pki/inventory/local-inventory.ts';
import { restartsOf } from '../pki/renewal/restart.ts';
import { previewRollback, rollBackTo } from '../pki/renewal/renewal.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions, renewalRequest, restartOption } from './certs-options.ts';
import { isConfirmed } from './confirmation.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import type { RollbackReport } from './rollback-report.ts';
import { manualRestarts, reportOn, rollbackDocument, rollbackTable } from './rollback-report.ts';

interface RollbackOptions extends DirectoryOptions {
  readonly output: OutputFormat;
  readonly force?: true;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly restart: 'auto' | 'never';
}

export const exitCodes: ExitCodeMeanings = {
  0: 'done, or nothing to do',
  1: 'an error, which the message names, or the answer was no',
  2: 'wrong usage',
  3: 'done, but a component has to be restarted by hand',
};

/** `nodecertd certs rollback`: restores the files from before a renewal. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addDirectoryOptions(command)
    .argument('[time]', 'the renewal to undo, with all later ones (default: the latest)')
    .addOption(restartOption())
    .option('--force', 'also restore files that another program changed after the renewal')
    .option('--dry-run', 'list the renewals and the files to restore, and write nothing')
    .option('--yes', 'do not ask before the files are restored')
    .addOption(outputOption())
    .action(async (time: string | undefined, options: RollbackOptions) => {
      exit(await withRootRemedy(() => run(time, options, context)));
    });
}

async function run(
  time: string | undefined,
  options: RollbackOptions,
  context: CliContext,
): Promise<number> {
  const { clock, stdout } = context;
  const { output, yes = false, force = false, dryRun = false } = options;
  const request = renewalRequest(options, context);
  const restarts =
    options.restart === 'auto' ? restartsOf(await findLocalNode(request.directories)) : new Map();
  const show = async (report: RollbackReport): Promise<void> => {
    const table = (): string => rollbackTable(report);
    stdout.write(await print(output, rollbackDocument(report), table));
  };
  const now = clock.now();
  const planned = reportOn(await previewRollback(request, time), {
    now,
    isDone: false,
    restarts,
    restarted: [],
  });
  if (dryRun || planned.preview.target === undefined) {
    await show(planned);
    return codes.fine;
  }
  if (output === 'table' && !yes) stdout.write(rollbackTable(planned));
  if (!(await isConfirmed('Restore these files?', { yes, context }))) return codes.error;
  using progress = new Progress(context.stderr, clock).start();
  progress.note('the rollback', 'started');
  const done = await rollBackTo(request, { time, force, restarts });
  const { restarted } = done;
  const report = reportOn(done, { now, isDone: true, restarts, restarted });
  await show(report);
  return manualRestarts(report).length > 0 ? codes.expiring : codes.fine;
}
