import type { Command } from 'commander';
import { Option } from 'commander';
import { loadConfig } from '../config/load.ts';
import { AgentError } from '../core/errors.ts';
import { formatDuration, formatInstant, second } from '../core/instant.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions } from './config-options.ts';
import type { AgentStatus } from '../core/status.ts';
import type { CliContext } from './context.ts';
import { findAgent } from './control-client.ts';
import { defaultConfigFile } from './default-config.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { commonExitCodes, exitCodes as codes } from './exit-code.ts';
import { formatFailure } from './print-error.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import type { Renewal } from './renewal.ts';
import { waitForRenewals } from './renewal.ts';
import { alignColumns, oneLine, shortSerial } from './text.ts';
import { parseTimeout } from './timeout-option.ts';

interface RenewOptions extends ConfigOptions {
  readonly output: OutputFormat;
  readonly timeout: number;
}

export const exitCodes: ExitCodeMeanings = {
  ...commonExitCodes,
  1: 'an error, a failed hook, or a certificate that was not renewed in time or whose next attempt is later',
};

/** `nodecertd renew`: tells the running agent to renew certificates now, and waits for them. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  command.argument('[names...]', 'certificates to renew (default: all that the agent rotates)');
  addConfigOptions(command, ['stateDir']);
  const timeout = new Option(
    '--timeout <duration>',
    'maximum wait for the new certificates; 0s returns at once, and a failure whose next attempt is later ends the wait',
  );
  command.addOption(timeout.argParser(parseTimeout).default(5 * 60, '5m'));
  command.addOption(outputOption());
  command.action(async (names: readonly string[], options: RenewOptions) => {
    const { output, config: given, timeout, ...flags } = options;
    const file = given ?? (await defaultConfigFile());
    const config = await loadConfig({ file, flags, environment: context.environment });
    const client = await findAgent(config);
    const all = names.length > 0 ? names : renewable(await client.status(), context.stderr);
    const renewals = await waitForRenewals({
      client,
      before: await client.renew(all),
      clock: context.clock,
      timeout: timeout * second,
      signal: new AbortController().signal,
      progress: (line) => context.stderr.write(`${oneLine(line)}\n`),
    });
    const table = (): string => renewalTable(renewals);
    context.stdout.write(await print(output, { certificates: renewals.map(documentOf) }, table));
    const unfinished = renewals.filter(({ result }) => result !== 'renewed');
    if (unfinished.length > 0 && timeout > 0) throw notRenewed(unfinished, timeout);
    const failures = renewals.flatMap((renewal) => renewal.failures);
    for (const failure of failures) context.stderr.write(formatFailure(failure));
    exit(failures.length > 0 ? codes.error : codes.fine);
  });
}

/** All certificates except those that the kubelet rotates. If none is left, the agent refuses with the reason. */
function renewable({ certificates }: AgentStatus, stderr: CliContext['stderr']): string[] {
  const observed = certificates.filter(({ state }) => state === 'observing').map(nameOf);
  const names = certificates.map(nameOf).filter((name) => !observed.includes(name));
  if (names.length === 0) return observed;
  for (const name of observed) stderr.write(`${name}: skipped, because the kubelet rotates it\n`);
  return names;
}

function nameOf({ name }: { readonly name: string }): string {
  return name;
}

function documentOf({ notAfter, nextAttempt, ...renewal }: Renewal): object {
  return {
    ...renewal,
    ...(notAfter !== undefined && { notAfter: formatInstant(notAfter) }),
    ...(nextAttempt !== undefined && { nextAttempt: formatInstant(nextAttempt) }),
  };
}

function renewalTable(renewals: readonly Renewal[]): string {
  const rows = renewals.map(({ name, result, state, serial, notAfter }) => [
    name,
    result === 'waiting' ? state : result,
    notAfter === undefined ? '-' : formatInstant(notAfter),
    serial === undefined ? '-' : shortSerial(serial),
  ]);
  return `${alignColumns([['CERTIFICATE', 'RESULT', 'EXPIRES', 'SERIAL'], ...rows]).join('\n')}\n`;
}

function notRenewed(unfinished: readonly Renewal[], seconds: number): AgentError {
  const names = unfinished.map(nameOf).join(', ');
  const attempts = unfinished.flatMap(({ nextAttempt }) => nextAttempt ?? []);
  const [remedy = 'See: nodecertd status'] = unfinished.flatMap((renewal) => renewal.remedy ?? []);
  const message =
    attempts.length === unfinished.length
      ? `not renewed: ${names}; the agent tries again at ${formatInstant(Math.min(...attempts))}`
      : `not renewed within ${formatDuration(seconds * second)}: ${names}; the agent keeps trying`;
  return new AgentError('RENEWAL_PENDING', message, { remedy });
}
