import { InvalidArgumentError } from 'commander';
import { parsePercentage } from '../config/percentage.ts';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import type { MaintenanceWindow } from '../core/maintenance-window.ts';
import { parseMaintenanceWindow } from '../core/maintenance-window.ts';
import type { RotationWindow } from '../core/schedule.ts';
import { kubeletWindow } from '../core/schedule.ts';
import type { UnattendedRenewal } from '../core/unattended-renewal.ts';
import { findLocalNode } from '../pki/inventory/local-inventory.ts';
import { restartsOf } from '../pki/renewal/restart.ts';
import type { Lifetime } from '../pki/renewal/lifetime.ts';
import { renewUnattended } from '../pki/unattended/unattended.ts';
import { localOffset } from '../sys/clock.ts';
import { clockSync } from '../sys/clock-sync.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { renewalRequest } from './certs-options.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCode } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { print } from './print.ts';
import { renewalDocument } from './renewal-report.ts';
import { unattendedTable } from './unattended-table.ts';

export interface UnattendedOptions extends DirectoryOptions {
  readonly output: OutputFormat;
  readonly lifetime?: Lifetime;
  readonly key?: KeyAlgorithm;
  readonly rotation?: RotationWindow;
  readonly window?: MaintenanceWindow;
}

/** `70%-90%`, with the limits of the configuration. @throws InvalidArgumentError */
export function parseRotation(text: string): RotationWindow {
  const [from = NaN, to = NaN] = text.split('-').map((part) => parsePercentage(part) ?? NaN);
  if (from >= 0.1 && from < to && to <= 0.95 && text.split('-').length === 2) return { from, to };
  throw new InvalidArgumentError('Use two percentages between 10% and 95%, such as 70%-90%.');
}

/** @throws InvalidArgumentError */
export function parseWindow(text: string): MaintenanceWindow {
  const parsed = parseMaintenanceWindow(text);
  if ('window' in parsed) return parsed.window;
  throw new InvalidArgumentError(`${parsed.problem}.`);
}

/** Why these arguments cannot be combined with --unattended. */
export function unattendedFault(
  names: readonly string[],
  options: Readonly<Partial<Record<'all' | 'dryRun' | 'csrOut' | 'import', unknown>>> & {
    readonly verify: boolean;
    readonly restart: 'auto' | 'never';
  },
): string | undefined {
  const { all, dryRun, csrOut, import: from, verify, restart } = options;
  if (names.length > 0 || all === true)
    return '--unattended selects the due certificates: remove the names and --all';
  const others = [
    ['--dry-run', dryRun === true],
    ['--csr-out', csrOut !== undefined],
    ['--import', from !== undefined],
    ['--no-verify', !verify],
    ['--restart never', restart === 'never'],
  ] as const;
  const found = others.find(([, isSet]) => isSet);
  return found && `--unattended and ${found[0]} exclude each other`;
}

/** Renews the due certificates, and prints the outcome. */
export async function renewUnattendedly(
  options: UnattendedOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { clock, environment, stdout, stderr } = context;
  const { rotation = kubeletWindow, window, key, lifetime = { kind: 'previous' } } = options;
  using stop = stopSignal();
  const renewal = { ...renewalRequest(options, context), signal: stop.signal };
  const node = await findLocalNode(renewal.directories);
  const restarts = restartsOf(node);
  using progress = new Progress(stderr, clock).show();
  const document = await renewUnattended({
    renewal,
    options: { lifetime, hostName: environment.hostName, ...(key !== undefined && { key }) },
    schedule: { rotation, offsetAt: localOffset, ...(window && { window }) },
    node,
    addresses: new Set(interfaceAddresses()),
    clockSync: () => clockSync({ path: process.env['PATH'] ?? '', clock, signal: renewal.signal }),
    describe: (preview) =>
      renewalDocument({ preview, restarts, isNamed: false, isUnverified: false }),
    onStep: progress.note,
  });
  progress[Symbol.dispose]();
  stdout.write(await print(options.output, document, () => unattendedTable(document)));
  return unattendedExitCode(document);
}

function unattendedExitCode({ outcome }: UnattendedRenewal): ExitCode {
  switch (outcome) {
    case 'not-due':
    case 'renewed':
      return exitCodes.fine;
    case 'waiting':
      return exitCodes.expiring;
    case 'refused':
    case 'failed':
      return exitCodes.error;
    default:
      return outcome satisfies never;
  }
}

/**
 * SIGINT and SIGTERM undo the current step and release the Lease. A second SIGINT ends the process
 * at once. A second SIGTERM has no effect: systemd sends one to every process of a service, and the
 * agent sends another one to its command.
 */
export function stopSignal(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted && signal === 'SIGINT') {
      process.removeListener(signal, stop);
      process.kill(process.pid, signal);
    }
    controller.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      process.removeListener('SIGINT', stop).removeListener('SIGTERM', stop);
    },
  };
}
