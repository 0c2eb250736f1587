import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import { keyAlgorithms } from '../core/certificate-spec.ts';
import { AgentError } from '../core/errors.ts';
import type { MaintenanceWindow } from '../core/maintenance-window.ts';
import type { RotationWindow } from '../core/schedule.ts';
import type { Lifetime } from '../pki/renewal/lifetime.ts';
import { parseLifetime } from '../pki/renewal/lifetime.ts';
import { endpointsOf, findLocalNode } from '../pki/inventory/local-inventory.ts';
import type { Selection } from '../pki/renewal/renewal-plan.ts';
import type { RenewalOptions, RenewalPreview } from '../pki/renewal/renewal.ts';
import { itemsOf, previewRenewal, renew } from '../pki/renewal/renewal.ts';
import { withRootRemedy } from '../pki/renewal/refusal.ts';
import type { Restarts } from '../pki/renewal/renewal-restarts.ts';
import { restartsOf } from '../pki/renewal/restart.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions, renewalRequest, restartOption } from './certs-options.ts';
import { isConfirmed } from './confirmation.ts';
import { exportCsrs } from './csr-export.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import type { RenewalReport } from './renewal-report.ts';
import { renewalDocument, renewalExitCode, renewalExitCodes } from './renewal-report.ts';
import { renewalTable } from './renewal-table.ts';
import { parseRotation, parseWindow, renewUnattendedly, unattendedFault } from './unattended.ts';

export interface RenewOptions extends DirectoryOptions {
  readonly output: OutputFormat;
  readonly all?: true;
  readonly due?: true;
  readonly lifetime?: Lifetime;
  readonly key?: KeyAlgorithm;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly verify: boolean;
  readonly csrOut?: string;
  readonly import?: string;
  readonly restart: 'auto' | 'never';
  readonly unattended?: true;
  readonly rotation?: RotationWindow;
  readonly window?: MaintenanceWindow;
}

export const exitCodes = renewalExitCodes;

/** `nodecertd certs renew`: new certificates from the CAs of this node, or from an external CA. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addDirectoryOptions(command)
    .argument('[names...]', 'certificates, as in nodecertd certs check-expiration')
    .option('--all', 'renew every certificate of kubeadm on this node')
    .option('--due', 'renew every certificate past 70-90% of its lifetime')
    .addOption(
      new Option(
        '--lifetime <time>',
        'such as 10y, 90d, 8760h, or ca for the rest of the lifetime of the CA (default: the previous lifetime)',
      ).argParser(parseLifetime),
    )
    .addOption(
      new Option('--key <algorithm>', 'kind of the new keys (default: the previous kind)').choices(
        keyAlgorithms,
      ),
    )
    .option(
      '--csr-out <folder>',
      'for an external CA: create a CSR for each certificate; its key stays on this node',
    )
    .option(
      '--import <folder>',
      'replace certificates with those that an external CA issued for the CSRs (NAME.crt or NAME.pem)',
    )
    .addOption(restartOption())
    .option('--dry-run', 'show the plan, and write nothing')
    .option('--yes', 'do not ask before the renewal')
    .option('--no-verify', 'do not check the endpoints and the control plane after the renewal')
    .option(
      '--unattended',
      'for a timer: renew what is due if the clock is synchronized and the other control-plane nodes are healthy, on one node at a time',
    )
    .addOption(
      new Option(
        '--rotation <from-to>',
        'with --unattended: part of the lifetime in which certificates are due, such as 70%-90%',
      ).argParser(parseRotation),
    )
    .addOption(
      new Option(
        '--window <hours>',
        'with --unattended: renew in these hours of local time, once less than 1/3 of the lifetime is left; replaces --rotation',
      ).argParser(parseWindow),
    )
    .addOption(outputOption())
    .action(async (names: readonly string[], options: RenewOptions) => {
      const selection = selectionOf(names, options);
      const renewal =
        options.unattended === true
          ? (): Promise<number> => renewUnattendedly(options, context)
          : (): Promise<number> => run(selection, options, context);
      exit(await withRootRemedy(renewal));
    });
}

function selectionOf(names: readonly string[], options: RenewOptions): Selection {
  const { all, due } = options;
  const fault = faultOf(names, options);
  if (fault !== undefined) {
    throw new AgentError('USAGE', fault, { remedy: 'See: nodecertd certs renew --help' });
  }
  if (names.length > 0) return names;
  return due === true && all !== true ? 'due' : 'all';
}

function faultOf(names: readonly string[], options: RenewOptions): string | undefined {
  const { all, due, dryRun, yes, csrOut, key, lifetime, verify } = options;
  if (options.unattended === true) return unattendedFault(names, options);
  if (options.rotation !== undefined) return '--rotation requires --unattended';
  if (options.window !== undefined) return '--window requires --unattended';
  const chosen = [names.length > 0, all === true, due === true].filter(Boolean).length;
  const imports = options.import !== undefined;
  if (imports && csrOut !== undefined) return '--csr-out and --import exclude each other';
  if (imports && (all === true || due === true)) {
    return '--import takes the certificates that are in its folder: pass names, or none';
  }
  if (!imports && chosen !== 1) return 'pass either names, or --all, or --due';
  if (dryRun === true && yes === true) return '--yes and --dry-run exclude each other';
  const isExternal = imports || csrOut !== undefined;
  if (isExternal && lifetime !== undefined) return 'an external CA chooses the --lifetime itself';
  if (imports && key !== undefined) return '--key belongs to --csr-out, which creates the keys';
  if (csrOut !== undefined && !verify) return '--csr-out replaces no certificate: omit --no-verify';
  return undefined;
}

async function run(
  selection: Selection,
  options: RenewOptions,
  context: CliContext,
): Promise<number> {
  const { clock, environment, stdout } = context;
  const { output, yes = false, dryRun = false, key } = options;
  const request = renewalRequest(options, context);
  if (options.csrOut !== undefined) {
    const { csrOut } = options;
    return exportCsrs(selection, request, { options: { ...options, csrOut }, context });
  }
  const renewal: RenewalOptions = {
    selection,
    lifetime: options.lifetime ?? { kind: 'previous' },
    hostName: environment.hostName,
    ...(key !== undefined && { key }),
    ...(options.import !== undefined && {
      importFrom: resolve(environment.workingDirectory, options.import),
    }),
  };
  const node = await findLocalNode(request.directories);
  const restarts: Restarts = options.restart === 'auto' ? restartsOf(node) : new Map();
  const reportOf = (preview: RenewalPreview): RenewalReport => ({
    preview,
    restarts,
    isNamed: typeof selection !== 'string',
    usedFiles: new Set(node.named.map(({ path }) => path)),
    isUnverified: !options.verify,
  });
  const show = async (report: RenewalReport): Promise<number> => {
    const table = (): string => renewalTable(report);
    stdout.write(await print(output, renewalDocument(report), table));
    return renewalExitCode(report);
  };

  const preview = await previewRenewal(request, renewal);
  const planned = reportOf(preview);
  const isEmpty = itemsOf(preview).length === 0 && preview.interrupted === undefined;
  const hasLeftKey = preview.certificates.some(
    (one) => one.kind === 'imported' && one.hasPendingKey,
  );
  if (dryRun || (isEmpty && !hasLeftKey)) return show(planned);
  if (output === 'table' && !yes && !isEmpty) stdout.write(renewalTable(planned));
  if (!isEmpty && !(await isConfirmed('Renew these certificates?', { yes, context })))
    return codes.error;
  using progress = new Progress(context.stderr, clock).start();
  progress.note('the renewal', 'started');
  const done = await renew(request, {
    ...renewal,
    endpoints: options.verify ? endpointsOf(node) : [],
    restarts,
    describe: (found) => renewalDocument(reportOf(found)),
  });
  return await show({ ...reportOf(done.preview), result: done.result });
}
