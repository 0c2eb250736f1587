import type { Command } from 'commander';
import { Option } from 'commander';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import { keyAlgorithms } from '../core/certificate-spec.ts';
import { AgentError } from '../core/errors.ts';
import { version } from '../core/version.ts';
import type { Lifetime } from '../pki/lifetime.ts';
import { parseLifetime } from '../pki/lifetime.ts';
import { localEndpoints } from '../pki/local-inventory.ts';
import type { Selection } from '../pki/renewal-plan.ts';
import type { RenewalOptions, RenewalPreview, RenewalRequest } from '../pki/renewal.ts';
import { itemsOf, previewRenewal, renew } from '../pki/renewal.ts';
import { Tree } from '../sys/tree.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions, directoriesOf } from './certs-options.ts';
import { isConfirmed } from './confirmation.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import type { RenewalReport } from './renewal-report.ts';
import { renewalDocument, renewalExitCode, renewalExitCodes } from './renewal-report.ts';
import { renewalTable } from './renewal-table.ts';

interface RenewOptions extends DirectoryOptions {
  readonly output: OutputFormat;
  readonly all?: true;
  readonly due?: true;
  readonly lifetime?: Lifetime;
  readonly key?: KeyAlgorithm;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly verify: boolean;
}

export const exitCodes = renewalExitCodes;

/** `nodecertd certs renew`: new certificates from the CAs of this machine. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addDirectoryOptions(command)
    .argument('[names...]', 'certificates, as in nodecertd certs check-expiration')
    .option('--all', 'renew every certificate of kubeadm on this machine')
    .option('--due', 'renew every certificate past 70-90 % of its lifetime')
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
    .option('--dry-run', 'show the plan, and write nothing')
    .option('--yes', 'do not ask before the renewal')
    .option('--no-verify', 'do not check that the endpoints serve the new certificates')
    .addOption(outputOption())
    .action(async (names: readonly string[], options: RenewOptions) => {
      exit(await run(selectionOf(names, options), options, context));
    });
}

function selectionOf(names: readonly string[], { all, due, dryRun, yes }: RenewOptions): Selection {
  const chosen = [names.length > 0, all === true, due === true].filter(Boolean).length;
  const remedy = 'See: nodecertd certs renew --help';
  if (chosen !== 1) {
    throw new AgentError('USAGE', 'pass either names, or --all, or --due', { remedy });
  }
  if (dryRun === true && yes === true) {
    throw new AgentError('USAGE', '--yes and --dry-run exclude each other', { remedy });
  }
  if (all === true) return 'all';
  return due === true ? 'due' : names;
}

async function run(
  selection: Selection,
  options: RenewOptions,
  context: CliContext,
): Promise<number> {
  const { clock, environment, stdout } = context;
  const { output, yes = false, dryRun = false, key } = options;
  const directories = directoriesOf(options);
  const request: RenewalRequest = {
    tree: new Tree('/'),
    directories,
    clock,
    version,
    signal: new AbortController().signal,
  };
  const renewal: RenewalOptions = {
    selection,
    lifetime: options.lifetime ?? { kind: 'previous' },
    hostName: environment.hostName,
    ...(key !== undefined && { key }),
  };
  const reportOf = (preview: RenewalPreview): RenewalReport => ({
    preview,
    isNamed: typeof selection !== 'string',
    isUnverified: !options.verify,
  });
  const show = async (report: RenewalReport): Promise<number> => {
    const table = (): string => renewalTable(report);
    stdout.write(await print(output, renewalDocument(report), table));
    return renewalExitCode(report);
  };

  const preview = await previewRenewal(request, renewal);
  const planned = reportOf(preview);
  if (dryRun || (itemsOf(preview).length === 0 && preview.interrupted === undefined)) {
    return show(planned);
  }
  if (output === 'table' && !yes) stdout.write(renewalTable(planned));
  if (!(await isConfirmed('Renew these certificates?', { yes, context }))) return codes.error;
  using progress = new Progress(context.stderr, clock).start();
  progress.note('the renewal', 'started');
  const done = await renew(request, {
    ...renewal,
    endpoints: options.verify ? await localEndpoints(directories) : [],
    describe: (found) => renewalDocument(reportOf(found)),
  });
  return await show({ ...reportOf(done.preview), result: done.result });
}
