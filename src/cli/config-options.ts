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
    text: 'kubeconfig to write and use (/etc/kubernetes/kubelet.conf)',
  },
  bootstrapKubeconfig: { argument: '<file>', text: 'kubeconfig with a bootstrap token' },
  certDir: { argument: '<folder>', text: 'where the pairs are kept (/var/lib/kubelet/pki)' },
  hostnameOverride: { argument: '<name>', text: 'name of the Node (the host name)' },
  metricsAddress: { argument: '<host:port>', text: 'metrics and health (127.0.0.1:9471)' },
  logLevel: { argument: '<level>', text: 'least level to log (info)', choices: logLevels },
  logFormat: { argument: '<format>', text: 'form of log lines (json)', choices: logFormats },
  stateDir: { argument: '<folder>', text: 'where state.json is kept (/var/lib/nodecertd)' },
  kubeletConfig: {
    argument: '<file>',
    text: "the kubelet's configuration, to look at (/var/lib/kubelet/config.yaml)",
  },
  kubeletConfigDir: { argument: '<folder>', text: "the kubelet's --config-dir, to look at" },
};

/** `--config` and the flags named. Defaults are told in the help only: the configuration has them. */
export function addConfigOptions(command: Command, names: readonly (keyof ConfigFlags)[]): void {
  command.option('--config <file>', 'configuration file; flags override it');
  for (const name of names) {
    const { argument, text, choices } = help[name];
    const option = new Option(`${flagTargets[name].flag} ${argument}`, text);
    command.addOption(choices === undefined ? option : option.choices(choices));
  }
}

export const allConfigFlags = Object.keys(help) as (keyof ConfigFlags)[];
