import type { Command } from 'commander';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import type { TrustRollback } from '../trust/node/manual-rollback.ts';
import { previewTrustRollback, rollBackByHand } from '../trust/node/manual-rollback.ts';
import type { ConfigOptions } from './config-options.ts';
import { isConfirmed } from './confirmation.ts';
import type { CliContext } from './context.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { adviceLines, section } from './renewal-table.ts';
import { oneLine } from './text.ts';
import { addTrustOptions, trustRequest } from './trust-options.ts';
import { stopSignal } from './unattended.ts';

interface RollbackOptions extends ConfigOptions {
  readonly output: OutputFormat;
  readonly restart?: true;
  readonly force?: true;
  readonly dryRun?: true;
  readonly yes?: true;
}

type RollbackState = 'nothing-to-do' | 'planned' | 'done';

export const exitCodes: ExitCodeMeanings = {
  0: 'done, or nothing to do',
  1: 'an error, which the message names, or the answer was no',
  2: 'wrong usage',
  3: 'done, but the kubelet may not use the previous CAs yet',
};

/** `nodecertd trust rollback`: restores the files from before the last change of the CAs. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addTrustOptions(command)
    .option('--restart', 'restart the kubelet now if it may not use the previous CAs')
    .option('--force', 'also restore files that another program changed after the change')
    .option('--dry-run', 'list the files to restore, and write nothing')
    .option('--yes', 'do not ask before the files are restored')
    .addOption(outputOption())
    .action(async (options: RollbackOptions) => {
      exit(await withRootRemedy(() => run(options, context)));
    });
}

async function run(options: RollbackOptions, context: CliContext): Promise<ExitCode> {
  const { output, restart = false, force = false, dryRun = false, yes = false, ...flags } = options;
  using stop = stopSignal();
  const request = await trustRequest(flags, { context, signal: stop.signal });
  const show = async (rollback: TrustRollback, state: RollbackState): Promise<ExitCode> => {
    const table = (): string => rollbackTable(rollback, state);
    context.stdout.write(await print(output, rollbackDocument(rollback, state), table));
    return rollback.kubelet === undefined ? codes.fine : codes.expiring;
  };
  const planned = await previewTrustRollback(request);
  if (planned.paths.length === 0) return await show(planned, 'nothing-to-do');
  if (dryRun) return await show(planned, 'planned');
  if (output === 'table' && !yes) context.stdout.write(rollbackTable(planned, 'planned'));
  if (!(await isConfirmed('Restore these files?', { yes, context }))) return codes.error;
  return await show(await rollBackByHand(request, { force, restartNow: restart }), 'done');
}

function rollbackDocument(
  { paths, kubelet }: TrustRollback,
  state: RollbackState,
): Record<string, unknown> {
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'TrustRollback',
    state,
    files: paths,
    ...(kubelet && { kubelet }),
  };
}

const headings: Readonly<Record<RollbackState, string>> = {
  'nothing-to-do': 'There is no change of the CAs to roll back',
  planned: 'Restores the files from before the last change of the CAs; nothing is changed yet',
  done: 'The files from before the last change of the CAs are restored',
};

function rollbackTable({ paths, kubelet }: TrustRollback, state: RollbackState): string {
  const advice =
    kubelet &&
    adviceLines({
      what: kubelet.message,
      ...(kubelet.remedy !== undefined && { remedy: kubelet.remedy }),
    });
  return [
    headings[state],
    ...section(
      'FILES',
      paths.map((path) => `  ${oneLine(path)}`),
    ),
    ...section('KUBELET', advice ?? []),
    '',
  ].join('\n');
}
