import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { authorityNames, authorityFile, keyFileOf } from '../../../src/pki/layout.ts';
import { sign } from '../../pki/renewal/external-tree.ts';
import type { TestKeyKind } from '../../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../../pki/renewal/renewal-tree.ts';
import { makeKubeadmTree } from '../../pki/renewal/renewal-tree.ts';
import { areDumpsInWorkingDirectory } from '../../support/core-dumps.ts';
import { CertsNode } from './certs-node.ts';
import type { MemoryMatch } from './process-memory.ts';
import { describe } from './watched-agent.ts';

export interface CertsRoundResult {
  readonly commands: number;
  readonly dumps: number;
  readonly keys: number;
}

/** Runs every command of `nodecertd certs` on one node, and searches everything for keys. */
export async function runCertsRound(key: TestKeyKind, program?: string): Promise<CertsRoundResult> {
  const directory = await mkdtemp(join(tmpdir(), 'nodecertd-fault-certs-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const tree = await makeKubeadmTree(directory, { key });
  await mkdir(join(directory, 'run'));
  const node = await CertsNode.create(tree, join(directory, 'run'), program);
  const round = new Round(node, tree);
  await round.inspect();
  await round.renew();
  await round.importWithoutCaKeys(join(directory, 'csrs'));
  return { commands: round.commands, dumps: round.dumps, keys: node.keys.names.size };
}

const confirmed = ['--yes', '--no-verify'];
const externals = ['apiserver', 'admin.conf'];

/** Whether memory may have a part of a key at the end of a command. The files had the key before. */
type Policy = (match: MemoryMatch, files: readonly string[]) => boolean;

/** A kubeconfig is a string, which JavaScript cannot overwrite. */
const isFromKubeconfig: Policy = (_, files) => files.some((file) => file.endsWith('.conf'));

/**
 * The existing files are in memory until they are replaced. The keys of CAs and new keys are only in
 * OpenSSL's secure heap; its second copy of the primes of an RSA key, for multiplications, is in
 * other memory.
 */
const isFromLeafOrSecure: Policy = ({ needle, where }, files) =>
  files.some(isLeafKey) || where.endsWith(' locked') || /^[pq] as little endian$/.test(needle.form);

function isLeafKey(file: string): boolean {
  return !/(?:^|[-/])ca\.key$/.test(file) && !file.includes('/pending/');
}

class Round {
  commands = 0;
  dumps = 0;
  readonly #node: CertsNode;
  readonly #tree: KubeadmTree;

  constructor(node: CertsNode, tree: KubeadmTree) {
    this.#node = node;
    this.#tree = tree;
  }

  async inspect(): Promise<void> {
    for (const format of ['wide', 'json', 'prometheus']) {
      await this.#search(0, ['check-expiration', '-o', format], { isAllowed: isFromKubeconfig });
    }
    await this.#search(0, ['verify', '-o', 'json'], { isAllowed: isFromKubeconfig });
  }

  async renew(): Promise<void> {
    const all = ['renew', '--all', ...confirmed];
    await this.#search(3, ['renew', '--all', '--dry-run'], { isAllowed: isFromLeafOrSecure });
    await this.#search(1, all, {
      isAllowed: isFromLeafOrSecure,
      inject: 'fsync:error=ENOSPC:when=7',
    });
    for (const nth of [5, 20, 40]) await this.#dump(all, nth);
    await this.#search(3, all, { isAllowed: isFromLeafOrSecure });
    await this.#dump(['rollback', '--yes'], 5);
    await this.#search(3, ['rollback', '--yes'], { isAllowed: isFromKubeconfig });
  }

  /** @param folder a new folder for the CSRs */
  async importWithoutCaKeys(folder: string): Promise<void> {
    for (const name of authorityNames) await rm(keyFileOf(authorityFile(name, this.#tree)));
    const exported = ['renew', ...externals, '--csr-out', folder];
    await this.#dump(exported, 5);
    await this.#search(0, exported, { isAllowed: isFromLeafOrSecure });
    for (const name of externals) {
      const certificate = sign(join(folder, `${name}.csr`), this.#tree.authorities.ca);
      await writeFile(join(folder, `${name}.crt`), certificate);
    }
    const imported = ['renew', '--import', folder, ...confirmed];
    await this.#dump(imported, 5);
    await this.#search(3, imported, { isAllowed: isFromLeafOrSecure });
  }

  /** @param inject a fault, as an option of strace */
  async #search(
    code: number,
    args: readonly string[],
    { isAllowed, inject }: { readonly isAllowed: Policy; readonly inject?: string },
  ): Promise<void> {
    const before = [...(await this.#node.learnKeys())];
    const ended = await this.#node.run(args, inject);
    this.commands += 1;
    const words = args.join(' ');
    if (ended.code !== code) throw new Error(`${words} exited with ${ended.code}, not ${code}`);
    const filesOf = ({ needle }: MemoryMatch): string[] =>
      before.flatMap(([file, name]) => (name === needle.key ? [file] : []));
    const found = ended.memory.filter((match) => !isAllowed(match, filesOf(match)));
    if (found.length > 0) throw new Error(`the memory of ${words} has ${describe(found)}`);
  }

  async #dump(args: readonly string[], nth: number): Promise<void> {
    if (!areDumpsInWorkingDirectory) return;
    await this.#node.dump(args, nth);
    this.dumps += 1;
  }
}
