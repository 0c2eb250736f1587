import type { Command } from 'commander';
import type { TrustOutcome } from '../core/trust-report.ts';
import { trustDocument } from '../core/trust-document.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import { syncTrust } from '../trust/node/sync.ts';
import type { ConfigOptions } from './config-options.ts';
import type { CliContext } from './context.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { addTrustOptions, trustRequest } from './trust-options.ts';
import { trustTable } from './trust-table.ts';
import { stopSignal } from './unattended.ts';

interface SyncOptions extends ConfigOptions {
  readonly output: OutputFormat;
  readonly unattended?: true;
  readonly restart?: true;
  readonly refresh?: true;
}

export const exitCodes: ExitCodeMeanings = {
  0: 'the node trusts the CAs of its sources, and its kubelet uses them',
  1: 'an error, or nodecertd refuses the CAs of a source',
  2: 'wrong usage',
  3: 'waiting for a source, a file that cannot be written, or a restart of the kubelet',
};

/** `nodecertd trust sync`: brings the CAs of this node in step with the cluster. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addTrustOptions(command)
    .option(
      '--restart',
      'restart the kubelet now if it may not use new CAs, regardless of trust.kubelet',
    )
    .option(
      '--unattended',
      'as the agent runs it: wait before a second attempt with CAs that were rolled back',
    )
    .option(
      '--refresh',
      'with --unattended: ask the API server again for what earlier runs have found',
    )
    .addOption(outputOption())
    .action(async (options: SyncOptions) => {
      exit(await withRootRemedy(() => run(options, context)));
    });
}

async function run(options: SyncOptions, context: CliContext): Promise<ExitCode> {
  const { output, unattended = false, restart = false, refresh = false, ...flags } = options;
  using stop = stopSignal();
  const request = await trustRequest(flags, { context, signal: stop.signal });
  const byHand = !unattended;
  const report = await syncTrust(request, { restartNow: restart, byHand, refresh });
  const { stdout, clock } = context;
  const table = (): string => trustTable(report, clock.now());
  stdout.write(await print(output, trustDocument(report), table));
  return exitCodeOf(report.outcome);
}

function exitCodeOf(outcome: TrustOutcome): ExitCode {
  switch (outcome) {
    case 'in-sync':
    case 'changed':
      return codes.fine;
    case 'waiting':
      return codes.expiring;
    case 'refused':
    case 'failed':
      return codes.error;
    default:
      return outcome satisfies never;
  }
}
