import type { Command } from 'commander';
import { Argument, InvalidArgumentError, Option } from 'commander';
import type { KeyAlgorithm } from '../core/certificate-spec.ts';
import { keyAlgorithms } from '../core/certificate-spec.ts';
import { AgentError } from '../core/errors.ts';
import { day } from '../core/instant.ts';
import { parseLifetime } from '../pki/renewal/lifetime.ts';
import type { CaName, Step } from '../trust/control-plane/task.ts';
import { caNames, steps } from '../trust/control-plane/task.ts';
import type { GateFlags } from './ca-rollover-options.ts';
import { addGateOptions } from './ca-rollover-options.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions } from './certs-options.ts';
import type { OutputFormat } from './print.ts';
import { outputOption } from './print.ts';

export interface ApplyOptions extends DirectoryOptions, GateFlags {
  readonly ca: CaName;
  readonly kubeconfig?: string;
  readonly subject?: string;
  readonly key?: KeyAlgorithm;
  /** In milliseconds. */
  readonly lifetime?: number;
  readonly import?: string;
  readonly oldKey?: 'keep' | 'destroy';
  readonly acceptEtcdInterruption?: true;
  readonly keepAbsentNodes?: true;
  readonly undo?: true;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly output: OutputFormat;
}

const exceptUse =
  'ignore these Nodes, which may keep the old CA; with --ca front-proxy, also these APIServices';

export function addApplyOptions(command: Command): Command {
  return addGateOptions(addDirectoryOptions(command), exceptUse)
    .addArgument(
      new Argument(
        '<step>',
        'create: a new CA; trust: both CAs; switch: certificates from the new CA; finish: the new CA alone; abort: one step back',
      ).choices(steps),
    )
    .addOption(
      new Option('--ca <ca>', 'the CA that is replaced').choices(caNames).makeOptionMandatory(),
    )
    .option('--kubeconfig <file>', 'kubeconfig of an administrator (default: admin.conf)')
    .addOption(
      new Option(
        '--subject <name>',
        'subject of the new CA, as in "CN=kubernetes 2027" (default: the name of the old CA with the current month)',
      ).argParser(parseSubject),
    )
    .addOption(
      new Option('--key <algorithm>', 'kind of the new key (default: that of the old key)').choices(
        // kubeadm reads only RSA and ECDSA keys of a CA.
        keyAlgorithms.filter((algorithm) => algorithm !== 'ed25519'),
      ),
    )
    .addOption(
      new Option('--lifetime <time>', 'lifetime of the new CA (default: 10y)').argParser(
        parseAuthorityLifetime,
      ),
    )
    .option(
      '--import <folder>',
      'with create: use the CA in this folder (ca.crt and ca.key); with switch and external etcd: use the certificate apiserver-etcd-client.crt in this folder',
    )
    .addOption(
      new Option(
        '--old-key <choice>',
        'with finish: keep the key of the old CA in the copies for --undo, or destroy it with all copies of this CA',
      ).choices(['keep', 'destroy']),
    )
    .option(
      '--accept-etcd-interruption',
      'with --ca etcd and fewer than three members: restart etcd although this stops all writes for a time',
    )
    .option(
      '--keep-absent-nodes',
      'with finish: API servers accept clients of the old CA and send the bridge, until the next finish without this option',
    )
    .option('--undo', 'restore the files from before the step, from their copies')
    .option('--dry-run', 'show the plan, and change nothing')
    .option('--yes', 'do not ask before the step')
    .addOption(outputOption());
}

/** The characters of the names that `ca-rollover plan` and kubeadm use. @throws InvalidArgumentError */
function parseSubject(text: string): string {
  const name = /^CN=([\p{L}\p{N} ._:-]{1,64})$/u.exec(text)?.[1]?.trim();
  if (name !== undefined && name !== '') return name;
  throw new InvalidArgumentError(
    'Use CN= and a name of up to 64 letters, digits, spaces and . _ : - such as "CN=kubernetes 2027".',
  );
}

/** The lifetime of the CAs that kubeadm creates. */
export const usualLifetime = 3650 * day;

const longestLifetime = 100 * 365 * day;

/** @throws InvalidArgumentError; AgentError USAGE */
function parseAuthorityLifetime(text: string): number {
  const lifetime = parseLifetime(text);
  if (lifetime.kind === 'duration' && lifetime.ms <= longestLifetime) return lifetime.ms;
  throw new InvalidArgumentError('Use a duration of up to 100 years, such as 10y or 3650d.');
}

/** @throws AgentError USAGE */
export function requireUsage(step: Step, options: ApplyOptions): void {
  const fault = faultOf(step, options);
  if (fault === undefined) return;
  throw new AgentError('USAGE', fault, { remedy: 'See: nodecertd ca-rollover apply --help' });
}

const creating = '--subject, --key, --lifetime and --import';
const creatingUse = `${creating} are only for the step create, and --import also for switch --ca etcd`;

function faultOf(step: Step, options: ApplyOptions): string | undefined {
  const { ca, acceptEtcdInterruption, dryRun, yes, undo, subject, key, lifetime } = options;
  const { import: from } = options;
  if (dryRun === true && yes === true) return '--yes and --dry-run exclude each other';
  if (acceptEtcdInterruption === true && ca !== 'etcd') {
    return '--accept-etcd-interruption is only for --ca etcd';
  }
  const isChosen = (subject ?? key ?? lifetime) !== undefined;
  const createsOne = isChosen || from !== undefined;
  const isImport = step === 'switch' && ca === 'etcd' && !isChosen;
  if (step !== 'create' && createsOne && !isImport) return creatingUse;
  if (from !== undefined && isChosen) return '--import excludes --subject, --key and --lifetime';
  if (undo === true && createsOne) return `--undo excludes ${creating}`;
  if (undo === true && step === 'abort')
    return 'abort cannot be undone; continue with trust or switch';
  return absentNodesFault(step, options) ?? oldKeyFault(step, options);
}

function absentNodesFault(
  step: Step,
  { ca, undo, keepAbsentNodes, oldKey }: ApplyOptions,
): string | undefined {
  if (keepAbsentNodes === undefined) return undefined;
  if (step !== 'finish' || undo === true || ca !== 'kubernetes') {
    return '--keep-absent-nodes is only for the step finish with --ca kubernetes and without --undo';
  }
  // The key could issue certificates that API servers accept.
  return oldKey === 'keep' ? '--keep-absent-nodes needs --old-key destroy' : undefined;
}

function oldKeyFault(step: Step, { undo, dryRun, oldKey }: ApplyOptions): string | undefined {
  if (step !== 'finish' || undo === true) {
    return oldKey === undefined ? undefined : oldKeyUse;
  }
  if (oldKey !== undefined || dryRun === true) return undefined;
  return 'the step finish needs --old-key keep or --old-key destroy';
}

const oldKeyUse = '--old-key is only for the step finish without --undo';
