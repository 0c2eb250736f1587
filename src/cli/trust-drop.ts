import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { formatInstant } from '../core/instant.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import type { DropPlan } from '../trust/node/manual-drop.ts';
import { dropByHand, previewDrop } from '../trust/node/manual-drop.ts';
import type { ConfigOptions } from './config-options.ts';
import { isConfirmed } from './confirmation.ts';
import type { CliContext } from './context.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { section } from './renewal-table.ts';
import { oneLine } from './text.ts';
import { addTrustOptions, trustRequest } from './trust-options.ts';
import { stopSignal } from './unattended.ts';

interface DropOptions extends ConfigOptions {
  readonly output: OutputFormat;
  readonly force?: true;
  readonly dryRun?: true;
  readonly yes?: true;
}

type DropState = 'planned' | 'done' | 'refused';

export const exitCodes: ExitCodeMeanings = {
  0: 'done, or the CA can be dropped (--dry-run)',
  1: 'an error, which the message names, or the answer was no',
  2: 'wrong usage',
  4: 'refused, because this node still needs the CA',
};

/** `nodecertd trust drop`: removes a CA that this node no longer needs. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addTrustOptions(command)
    .argument(
      '<fingerprint>',
      'the SHA-256 fingerprint of the CA, or its first digits (at least 8)',
      parseDigits,
    )
    .option('--force', 'also drop a CA that this node still needs; copies of the files are kept')
    .option('--dry-run', 'show whether the CA can be dropped, and write no file')
    .option('--yes', 'do not ask before the files are changed')
    .addOption(outputOption())
    .action(async (fingerprint: string, options: DropOptions) => {
      exit(await withRootRemedy(() => run(fingerprint, options, context)));
    });
}

function parseDigits(text: string): string {
  const digits = text.replaceAll(':', '').toLowerCase();
  if (/^[\da-f]{8,64}$/.test(digits)) return digits;
  throw new InvalidArgumentError('Use 8 to 64 hexadecimal digits, as nodecertd trust sync shows.');
}

async function run(
  fingerprint: string,
  options: DropOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { output, force = false, dryRun = false, yes = false, ...flags } = options;
  using stop = stopSignal();
  const request = await trustRequest(flags, { context, signal: stop.signal });
  const show = async (plan: DropPlan, state: DropState): Promise<ExitCode> => {
    const table = (): string => dropTable(plan, state);
    context.stdout.write(await print(output, dropDocument(plan, state), table));
    return state === 'refused' ? codes.expired : codes.fine;
  };
  const planned = await previewDrop(request, fingerprint);
  const isRefused = planned.reasons.length > 0 && !force;
  if (dryRun || isRefused) return await show(planned, isRefused ? 'refused' : 'planned');
  if (output === 'table' && !yes) context.stdout.write(dropTable(planned, 'planned'));
  if (!(await isConfirmed('Drop this CA?', { yes, context }))) return codes.error;
  const plan = await dropByHand(request, { fingerprint, force });
  return await show(plan, plan.reasons.length > 0 && !force ? 'refused' : 'done');
}

function dropDocument(plan: DropPlan, state: DropState): Record<string, unknown> {
  const { fingerprint, subject, notAfter } = plan.authority;
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'TrustDrop',
    state,
    authority: { fingerprint, subject, notAfter: formatInstant(notAfter) },
    reasons: plan.reasons,
    files: plan.files,
  };
}

const headings: Readonly<Record<DropState, string>> = {
  planned: 'Drops a CA; nothing is changed yet',
  done: 'Dropped a CA',
  refused: 'Refused: this node still needs the CA',
};

function dropTable({ authority, reasons, files }: DropPlan, state: DropState): string {
  return [
    headings[state],
    `  ${oneLine(authority.subject)}, fingerprint ${authority.fingerprint}`,
    ...section(
      'REASONS TO KEEP IT',
      reasons.map((reason) => `  ${oneLine(reason)}`),
    ),
    ...section(
      'FILES',
      files.map((file) => `  ${oneLine(file)}`),
    ),
    ...(state === 'done' ? ['', 'To restore the files: nodecertd trust rollback'] : []),
    '',
  ].join('\n');
}
