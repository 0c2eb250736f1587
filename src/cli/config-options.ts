import type { Command } from 'commander';
import { Option } from 'commander';
import type { ConfigFlags } from '../config/flags.ts';
import { flagTargets } from '../config/flags.ts';
import { logFormats, logLevels } from '../config/schema.ts';

export type ConfigOptions = ConfigFlags & { readonly config?: string };

interface FlagHelp {
  readonly argument: string;
  readonly text: string;
  readonly choices?: readonly string[];
}

const help: Readonly<Record<keyof ConfigFlags, FlagHelp>> = {
  kubeconfig: {
    argument: '<file>',
    text: 'kubeconfig of the node, written after the bootstrap (default: /etc/kubernetes/kubelet.conf)',
  },
  bootstrapKubeconfig: { argument: '<file>', text: 'kubeconfig with a bootstrap token' },
  certDir: { argument: '<folder>', text: 'certificate directory (default: /var/lib/kubelet/pki)' },
  hostnameOverride: { argument: '<name>', text: 'node name (default: the host name)' },
  metricsAddress: {
    argument: '<host:port>',
    text: 'address for metrics and health checks (default: 127.0.0.1:9471)',
  },
  logLevel: {
    argument: '<level>',
    text: 'lowest level to log (default: info)',
    choices: logLevels,
  },
  logFormat: {
    argument: '<format>',
    text: 'format of log lines (default: json)',
    choices: logFormats,
  },
  stateDir: { argument: '<folder>', text: 'directory of state.json (default: /var/lib/nodecertd)' },
  kubeletConfig: {
    argument: '<file>',
    text: 'configuration file of the kubelet (default: /var/lib/kubelet/config.yaml)',
  },
  kubeletConfigDir: {
    argument: '<folder>',
    text: 'drop-in directory of the kubelet (its --config-dir)',
  },
};

/** Adds `--config` and the named flags. Defaults appear in the help text only, because the configuration sets them. */
export function addConfigOptions(command: Command, names: readonly (keyof ConfigFlags)[]): void {
  command.option('--config <file>', 'configuration file; flags override its values');
  for (const name of names) {
    const { argument, text, choices } = help[name];
    const option = new Option(`${flagTargets[name].flag} ${argument}`, text);
    command.addOption(choices === undefined ? option : option.choices(choices));
  }
}

/** The flags of commands that inspect the node and its kubelet. */
export const nodeFlags = [
  'kubeconfig',
  'bootstrapKubeconfig',
  'certDir',
  'hostnameOverride',
  'stateDir',
  'kubeletConfig',
  'kubeletConfigDir',
] as const satisfies readonly (keyof ConfigFlags)[];

export const allConfigFlags = Object.keys(help) as (keyof ConfigFlags)[];
