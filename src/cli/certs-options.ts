import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { defaultDirectories } from '../pki/layout.ts';
import type { KubernetesDirectories } from '../pki/layout.ts';
import { parseThreshold } from '../pki/inventory/judge.ts';
import type { Threshold } from '../pki/inventory/judge.ts';
import type { RenewalRequest } from '../pki/renewal/renewal.ts';
import { version } from '../core/version.ts';
import { Tree } from '../sys/tree.ts';
import type { CliContext } from './context.ts';

export interface DirectoryOptions {
  readonly kubernetesDir: string;
  /** Below the Kubernetes directory by default. */
  readonly certDir?: string;
}

/** `--kubernetes-dir`, and `--cert-dir` as in kubeadm. */
export function addDirectoryOptions(command: Command): Command {
  return command
    .option(
      '--kubernetes-dir <folder>',
      'folder of the kubeconfigs and manifests',
      defaultDirectories.kubernetes,
    )
    .option(
      '--cert-dir <folder>',
      'folder of the certificates, as in kubeadm (default: pki in the folder of the kubeconfigs)',
    );
}

export function directoriesOf({ kubernetesDir, certDir }: DirectoryOptions): KubernetesDirectories {
  return { kubernetes: kubernetesDir, certificates: certDir ?? join(kubernetesDir, 'pki') };
}

/** For commands that replace certificates. */
export function renewalRequest(options: DirectoryOptions, { clock }: CliContext): RenewalRequest {
  return {
    tree: new Tree('/'),
    directories: directoriesOf(options),
    clock,
    version,
    signal: new AbortController().signal,
  };
}

/**
 * The kubeconfigs of root and of the user who called sudo. Leaves out a home that this process
 * cannot enter: the service has none (ProtectHome=).
 */
export function userKubeconfigs(variables: Readonly<Record<string, string | undefined>>): string[] {
  const user = variables['SUDO_USER'];
  const homes = [homedir(), ...(user === undefined || user === 'root' ? [] : [`/home/${user}`])];
  return homes.filter(canEnter).map((home) => join(home, '.kube/config'));
}

function canEnter(directory: string): boolean {
  try {
    accessSync(directory, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** `--restart`, for commands that replace certificates. */
export function restartOption(): Option {
  return new Option(
    '--restart <mode>',
    'auto: restart components that cannot reload their certificate, one at a time; never: only list them',
  )
    .choices(['auto', 'never'])
    .default('auto');
}

/** @throws InvalidArgumentError for a text that is not a threshold */
export function thresholdOption(text: string): Threshold {
  const threshold = parseThreshold(text);
  if (threshold === undefined) {
    throw new InvalidArgumentError(
      'Use a percentage of the lifetime or a duration: 10%, 30d, 720h.',
    );
  }
  return threshold;
}
