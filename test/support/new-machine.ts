import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { parsePem } from '../../src/core/pem.ts';
import { runWithClock } from '../cli/in-process.ts';
import type { Ended } from './doctor.ts';
import { nodecertdWith } from './doctor.ts';
import { hastened } from './hastened-clock.ts';
import { slowness } from './machine-speed.ts';

/** The meaning of a bootstrap kubeconfig, whatever its names are. */
export interface BootstrapAccess {
  readonly server: string;
  /** In DER as base64, in order. */
  readonly authorities: readonly string[];
  readonly token: string;
}

/** How much faster the clock of the command runs. Its requests have a second on a fast machine. */
export const haste = 10 / slowness;

/** A machine that has a bootstrap token and knows no cluster yet. */
export class NewMachine implements AsyncDisposable {
  readonly token: string;
  readonly folder: string;
  readonly tokenFile: string;
  readonly output: string;
  /** For `--ca-file`. */
  readonly caFile: string;

  private constructor(token: string, folder: string) {
    this.token = token;
    this.folder = folder;
    this.tokenFile = join(folder, 'token');
    this.output = join(folder, 'bootstrap-kubelet.conf');
    this.caFile = join(folder, 'ca.crt');
  }

  static async create(token: string): Promise<NewMachine> {
    const machine = new NewMachine(token, await mkdtemp(join(tmpdir(), 'nodecertd-machine-')));
    await writeFile(machine.tokenFile, `${token}\n`, { mode: 0o600 });
    return machine;
  }

  /** The arguments of `nodecertd discover` with the token and the kubeconfig of this machine. */
  args(...args: readonly string[]): string[] {
    return ['--token-file', this.tokenFile, '--output', this.output, ...args];
  }

  /** Runs `nodecertd discover` in this process, with shorter waits. */
  async discover(...args: readonly string[]): Promise<Ended> {
    return runWithClock(hastened(haste), 'discover', ...this.args(...args));
  }

  /** Runs `nodecertd discover` in a process of its own, with additional variables. */
  async discoverInProcess(
    env: Readonly<Record<string, string>>,
    ...args: readonly string[]
  ): Promise<Ended> {
    return nodecertdWith(env, 'discover', ...this.args(...args));
  }

  /** The names and modes of all files, without that of the token. */
  async files(): Promise<Readonly<Record<string, string>>> {
    const names = (await readdir(this.folder)).filter((name) => name !== 'token').sort();
    const modes = names.map(async (name) => {
      const { mode } = await stat(join(this.folder, name));
      return [name, (mode & 0o777).toString(8).padStart(4, '0')] as const;
    });
    return Object.fromEntries(await Promise.all(modes));
  }

  /** The meaning of the kubeconfig that discovery has written. */
  async access(): Promise<BootstrapAccess> {
    return accessIn(await readFile(this.output, 'utf8'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

interface Kubeconfig {
  readonly clusters: readonly { name: string; cluster: Record<string, string> }[];
  readonly users: readonly { name: string; user: Record<string, string> }[];
  readonly contexts: readonly { name: string; context: Record<string, string> }[];
  readonly 'current-context': string;
}

/** @throws unless the kubeconfig has one cluster and one user, with a token alone */
export function accessIn(text: string): BootstrapAccess {
  const kubeconfig = parse(text) as Kubeconfig;
  const { name: clusterName, cluster } = onlyOf(kubeconfig.clusters);
  const { name: userName, user } = onlyOf(kubeconfig.users);
  const { name: contextName, context } = onlyOf(kubeconfig.contexts);
  const {
    server = '',
    'certificate-authority': file,
    'certificate-authority-data': data = '',
    ...moreOfCluster
  } = cluster;
  const { token = '', ...moreOfUser } = user;
  assert.deepEqual(
    [context['cluster'], context['user'], kubeconfig['current-context']],
    [clusterName, userName, contextName],
  );
  assert.deepEqual({ ...moreOfCluster, ...moreOfUser }, {});
  const pem = file === undefined ? Buffer.from(data, 'base64') : readFileSync(file);
  const authorities = parsePem(pem).map(({ der }) =>
    new X509Certificate(der).raw.toString('base64'),
  );
  return { server, authorities, token };
}

function onlyOf<T>(values: readonly T[]): T {
  const [value, ...others] = values;
  if (value === undefined || others.length > 0) throw new Error(`found ${values.length} of them`);
  return value;
}
