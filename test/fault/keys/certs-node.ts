import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { KubeadmTree } from '../../pki/renewal/renewal-tree.ts';
import { withDumps } from '../../support/core-dumps.ts';
import { findProgram } from '../../support/programs.ts';
import { KnownKeys } from './known-keys.ts';
import { launcherOfSources } from './launcher.ts';
import { embeddedNeedlesOf } from './needles.ts';
import type { MemoryMatch } from './process-memory.ts';
import { searchProcess } from './process-memory.ts';
import type { Written } from './trace.ts';
import { searchTrace, straceOptions } from './trace.ts';
import { describe } from './watched-agent.ts';

const witness = pathToFileURL(join(import.meta.dirname, 'witness.mjs')).href;

/** What `nodecertd certs` wrote, and what its memory had when it ended. */
export interface WatchedCommand {
  readonly code: number | null;
  readonly memory: readonly MemoryMatch[];
}

/** The control-plane node on which `nodecertd certs` runs under strace, and all of its keys. */
export class CertsNode {
  readonly keys: KnownKeys;
  readonly #tree: KubeadmTree;
  readonly #directory: string;
  readonly #program: string;

  private constructor(tree: KubeadmTree, directory: string, program: string) {
    this.#tree = tree;
    this.#directory = directory;
    this.#program = program;
    this.keys = new KnownKeys(join(directory, 'keys'));
  }

  /**
   * @param directory a folder for this node only
   * @param program the program from `make build`; the sources run when absent
   */
  static async create(tree: KubeadmTree, directory: string, program?: string): Promise<CertsNode> {
    await mkdir(join(directory, 'keys'));
    const launcher = program ?? (await launcherOfSources(directory));
    const node = new CertsNode(tree, directory, launcher);
    await node.learnKeys();
    return node;
  }

  /** Runs a command from start to end. @throws if a part of a key was written to another place */
  async run(args: readonly string[], inject?: string): Promise<WatchedCommand> {
    for (const name of ['at-exit', 'go', 'trace']) {
      await rm(join(this.#directory, name), { force: true });
    }
    const child = this.#start(args, { inject, pause: true });
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdout?.resume();
    const exit = once(child, 'exit');
    if (!(await this.#appears('at-exit', child)))
      throw new Error(`${args.join(' ')} did not end as usual: ${stderr}`);
    const pid = Number(await readFile(join(this.#directory, 'at-exit'), 'utf8'));
    await this.learnKeys();
    const memory = searchProcess(pid, this.keys.matcher);
    await writeFile(join(this.#directory, 'go'), '');
    const [code] = (await exit) as [number | null];
    await this.#requireCleanTrace();
    return { code, memory };
  }

  /**
   * Ends a command with a core dump at a call of fsync.
   * @returns the size of the dump
   * @throws if it contains a part of a key
   */
  async dump(args: readonly string[], nth: number): Promise<number> {
    const inject = `fsync:signal=SIGABRT:when=${nth}`;
    const child = this.#start(args, { inject, pause: false });
    child.stdout?.resume();
    child.stderr?.resume();
    await once(child, 'exit');
    await this.learnKeys();
    const names = await readdir(this.#directory);
    const file = names.find((name) => name.startsWith('core'));
    if (file === undefined) throw new Error(`${args.join(' ')} was not killed at fsync ${nth}`);
    const bytes = await readFile(join(this.#directory, file));
    await rm(join(this.#directory, file));
    const found = this.keys.matcher.search(bytes);
    if (found.length === 0) return bytes.length;
    const parts = found.map(({ needle }) => ({ needle, where: 'core dump' }));
    throw new Error(`a core dump of ${args.join(' ')} has ${describe(parts)}`);
  }

  /** Reads the keys of all files, and those that were generated. Returns the names by file. */
  async learnKeys(): Promise<ReadonlyMap<string, string>> {
    this.keys.refresh();
    const names = new Map<string, string>();
    for (const path of await readdir(this.#tree.kubernetes, { recursive: true })) {
      const pem = await this.#keyIn(path);
      if (pem === undefined) continue;
      const known = this.keys.names.size;
      const name = this.keys.add(createPrivateKey(pem));
      names.set(path, name);
      if (path.endsWith('.conf') && !this.#embedded.has(name)) {
        this.keys.matcher.add(embeddedNeedlesOf(name, pem));
        this.#embedded.add(name);
      }
      if (this.#isStarted && this.keys.names.size > known) {
        throw new Error(`the test did not see how the key of ${path} was generated`);
      }
    }
    return names;
  }

  #isStarted = false;
  readonly #embedded = new Set<string>();

  async #keyIn(path: string): Promise<string | undefined> {
    if (!/\.(?:key|conf)$/.test(path)) return undefined;
    const text = await readFile(join(this.#tree.kubernetes, path), 'utf8');
    if (path.endsWith('.key')) return text;
    const [, data = ''] = /client-key-data: (\S+)/.exec(text) ?? [];
    return Buffer.from(data, 'base64').toString();
  }

  #start(
    args: readonly string[],
    { inject, pause }: { readonly inject: string | undefined; readonly pause: boolean },
  ): ReturnType<typeof spawn> {
    this.#isStarted = true;
    const [command, ...words] = [
      ...withDumps,
      findProgram('strace') ?? 'strace',
      ...straceOptions(join(this.#directory, 'trace')),
      ...(inject === undefined ? [] : ['-e', `inject=${inject}`]),
      this.#program,
      'certs',
      ...args,
      '--kubernetes-dir',
      this.#tree.kubernetes,
    ];
    return spawn(command, words, {
      cwd: this.#directory,
      // Not inherited, so that strace sees what is written to pipes.
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        // One thread for files, because strace counts the calls of each thread separately.
        UV_THREADPOOL_SIZE: '1',
        NODE_OPTIONS: `--import=${witness}`,
        KEYS_WITNESS: join(this.#directory, 'keys'),
        ...(pause && { KEYS_PAUSE: this.#directory }),
      },
    });
  }

  /** False if the command ends before. */
  async #appears(name: string, child: ChildProcess): Promise<boolean> {
    while (!existsSync(join(this.#directory, name))) {
      if (child.exitCode !== null || child.signalCode !== null) return false;
      await delay(20);
    }
    return true;
  }

  async #requireCleanTrace(): Promise<void> {
    const written = await searchTrace(join(this.#directory, 'trace'), this.keys.matcher);
    const elsewhere = written.filter(({ where }) => !this.#mayHaveKey(where));
    if (elsewhere.length > 0) throw new Error(`written were ${describe(elsewhere)}`);
  }

  /** Key files and kubeconfigs, their copies and their temporary files; and the witness. */
  #mayHaveKey(where: Written['where']): boolean {
    if (where.startsWith(`${join(this.#directory, 'keys')}/`)) return true;
    if (!where.startsWith(`${this.#tree.kubernetes}/`)) return false;
    const name = basename(where).replace(/^\.nodecertd-[0-9a-f]{16}\./, '');
    return /\.(?:key|conf~?)$/.test(name);
  }
}
