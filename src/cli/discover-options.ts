import { isAbsolute, resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { defaultBootstrapKubeconfig } from '../core/remedies.ts';
import { parseTimeout } from './timeout-option.ts';

export const discoverFormats = ['text', 'json', 'yaml'] as const;
export type DiscoverFormat = (typeof discoverFormats)[number];

/** The options as commander parses them. */
export interface DiscoverOptions {
  readonly endpoint?: readonly string[];
  readonly tokenFile?: string;
  readonly token?: string;
  readonly caCertHash?: readonly string[];
  readonly onlyPinned?: true;
  readonly unsafeSkipCaVerification?: true;
  readonly server?: string;
  readonly join?: string;
  readonly discoveryFile?: string;
  readonly discoveryFileHash?: string;
  readonly nodeName?: string;
  readonly output: string;
  readonly caFile?: string;
  /** In seconds. */
  readonly timeout: number;
  readonly proxy?: string;
  readonly force?: true;
  readonly dryRun?: true;
  readonly format: DiscoverFormat;
}

export function addDiscoverOptions(command: Command): Command {
  return command
    .option(
      '--endpoint <address...>',
      'HOST or HOST:PORT of an API server (default port: 6443); several are tried in turn',
    )
    .option('--token-file <file>', 'file with the bootstrap token, or - for standard input')
    .option('--token <token>', 'bootstrap token; other users of this machine can see it with ps')
    .option(
      '--ca-cert-hash <hash...>',
      'hash of the CA key, as kubeadm prints it: sha256: and 64 hexadecimal digits; during a CA rollover, pass both hashes',
    )
    .option(
      '--only-pinned',
      'trust only the CAs that --ca-cert-hash names, not the other CAs of the cluster',
    )
    .option(
      '--unsafe-skip-ca-verification',
      'do not require a hash, and trust any server that knows the token: every machine that has had the token can then pose as the cluster',
    )
    .option(
      '--server <address>',
      'HOST or HOST:PORT to write into the kubeconfig (default: the server that cluster-info names)',
    )
    .option(
      '--join <line>',
      'the kubeadm join line, in quotes, or - for standard input: it contains the address, the token and the hash',
    )
    .option(
      '--discovery-file <file>',
      'kubeconfig with the server and the CA of the cluster: a file, or an https:// URL, which the CAs of this system verify',
    )
    .option(
      '--discovery-file-hash <hash>',
      'hash of the content of that file: sha256: and 64 hexadecimal digits',
    )
    .option('--node-name <name>', 'name of the Node to check (default: the host name)')
    .option('--output <file>', 'bootstrap kubeconfig to write', defaultBootstrapKubeconfig)
    .option(
      '--ca-file <file>',
      'also write the CAs to this file, and name it in the kubeconfig instead of embedding the CAs',
    )
    .addOption(
      new Option('--timeout <duration>', 'maximum time for the discovery')
        .argParser(parseTimeout)
        .default(5 * 60, '5m'),
    )
    .option(
      '--proxy <url>',
      'URL of a proxy (http:// or https://) for all connections, also written into the kubeconfig; HTTPS_PROXY is not used',
    )
    .option(
      '--force',
      'replace a kubeconfig with another token or a file with other CAs, and ignore a Node that is Ready',
    )
    .option('--dry-run', 'do everything except write the files')
    .addOption(
      new Option('-o, --format <format>', 'format of the report')
        .choices(discoverFormats)
        .default('text'),
    );
}

/** The absolute path of a file that the command line names. */
export function pathOf(file: string, workingDirectory: string): string {
  return isAbsolute(file) ? file : resolve(workingDirectory, file);
}
