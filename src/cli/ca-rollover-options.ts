import type { Command } from 'commander';
import { Option } from 'commander';
import { day, second } from '../core/instant.ts';
import { version } from '../core/version.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { serviceAccountAccess } from '../kube/service-account.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import type { Confirmed } from '../trust/cluster/gate.ts';
import type { RolloverQuestion } from '../trust/cluster/rollover.ts';
import { defaultKubeconfig } from './approver-options.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions, directoriesOf } from './certs-options.ts';
import type { CliContext } from './context.ts';
import { parseTimeout } from './timeout-option.ts';

export interface RolloverOptions extends DirectoryOptions, GateFlags {
  readonly kubeconfig?: string;
  readonly old?: string;
  readonly new?: string;
  readonly caKey: readonly string[];
  readonly bridge?: true;
}

export interface GateFlags {
  readonly except: readonly string[];
  readonly podsOk?: true;
  readonly clientsOk?: true;
  readonly auditLog: readonly string[];
  /** In seconds. */
  readonly quiet: number;
  /** False with `--no-dial`. */
  readonly dial: boolean;
}

/** The options of every command that judges the gates. */
export function addRolloverOptions(command: Command): Command {
  return addGateOptions(addCertificateOptions(command)).option(
    '--bridge',
    'the API servers will send the bridge, so no kubelet has to restart first',
  );
}

/** What an administrator confirms, and where the gates look. */
export function addGateOptions(
  command: Command,
  exceptUse = 'ignore these Nodes, which may keep the old CA',
): Command {
  return command
    .addOption(new Option('--except <name...>', exceptUse).default([], 'none'))
    .option('--pods-ok', 'running pods read the CAs again, or do not connect to the API server')
    .option(
      '--clients-ok',
      'no client outside the cluster has a certificate from the old CA (abort: the new CA)',
    )
    .addOption(
      new Option(
        '--audit-log <file...>',
        'audit logs of the API servers, to find clients with a certificate from the old CA',
      ).default([], 'none'),
    )
    .addOption(
      new Option(
        '--quiet <duration>',
        'with --audit-log: the time for which no client has used the old CA',
      )
        .argParser(parseTimeout)
        .default(day / second, '24h'),
    )
    .option('--no-dial', 'do not connect to the ports of the kubelets');
}

/** Where the two CAs, their keys and the files of the control plane are. */
export function addCertificateOptions(command: Command): Command {
  return addDirectoryOptions(addKubeconfigOption(command))
    .option(
      '--old <fingerprint>',
      'first digits of the fingerprint of the old CA, if nodecertd cannot find it',
    )
    .option('--new <fingerprint>', 'first digits of the fingerprint of the new CA')
    .addOption(
      new Option(
        '--ca-key <file...>',
        'further files with keys of the two CAs, for probes',
      ).default(
        [],
        'ca.key, ca-signing.key, ca-next.key and ca-previous.key in the folder of the certificates',
      ),
    );
}

export function addKubeconfigOption(command: Command): Command {
  return command.option(
    '--kubeconfig <file>',
    'kubeconfig of the cluster (default: KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf, or the service account of the pod)',
  );
}

export async function accessOf({
  kubeconfig,
}: Pick<RolloverOptions, 'kubeconfig'>): Promise<ClusterAccess> {
  const path = kubeconfig ?? defaultKubeconfig(process.env);
  return path === undefined ? await serviceAccountAccess() : await loadKubeconfig(path);
}

/** Ctrl-C simply ends the process, because the commands change nothing. */
export function questionOf(
  options: RolloverOptions,
  { access, context }: { readonly access: ClusterAccess; readonly context: CliContext },
): RolloverQuestion {
  const { old, new: next, caKey, bridge, auditLog, dial } = options;
  return {
    access,
    directories: directoriesOf(options),
    keyFiles: caKey,
    named: { ...(old !== undefined && { old }), ...(next !== undefined && { next }) },
    confirmed: { ...confirmedBy(options), bridge: bridge === true },
    auditLogs: auditLog,
    dial,
    version,
    clock: context.clock,
    signal: new AbortController().signal,
  };
}

export function confirmedBy({ except, podsOk, clientsOk, quiet }: GateFlags): Confirmed {
  return {
    exceptNodes: new Set(except),
    pods: podsOk === true,
    clients: clientsOk === true,
    quietMs: quiet * second,
  };
}
