import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { isPairFile } from '../../../src/store/pair-names.ts';
import type { TestAgent, TestNode } from '../../support/agent.ts';
import { findProgram } from '../../support/programs.ts';
import { KnownKeys } from './known-keys.ts';
import type { MemoryMatch } from './process-memory.ts';
import { searchProcess } from './process-memory.ts';
import { searchTrace, straceOptions } from './trace.ts';
import { scaled } from '../../support/machine-speed.ts';

export interface WatchOptions {
  /** The program from `make build`; the sources run when absent. */
  readonly command?: string | undefined;
  /** A leak that the program must never have: see witness.mjs. */
  readonly leak?: 'stderr' | 'ipc' | 'keeper';
  /** Further options of strace, such as injected errors. */
  readonly strace?: readonly string[];
}

const mainModule = join(import.meta.dirname, '../../../src/main.ts');
const witness = pathToFileURL(join(import.meta.dirname, 'witness.mjs')).href;

/** An agent under strace from its first call, whose keys are all known. */
export class WatchedAgent {
  readonly agent: TestAgent;
  readonly keys: KnownKeys;
  readonly #node: TestNode;
  readonly #trace: string;

  private constructor(node: TestNode, agent: TestAgent, directory: string) {
    this.#node = node;
    this.agent = agent;
    this.keys = new KnownKeys(join(directory, 'keys'));
    this.#trace = join(directory, 'trace');
  }

  /** @param directory a folder for this agent only */
  static async start(
    node: TestNode,
    directory: string,
    options: WatchOptions = {},
  ): Promise<WatchedAgent> {
    const { command, leak, strace = [] } = options;
    await mkdir(join(directory, 'keys'), { recursive: true });
    const words = [
      findProgram('strace') ?? 'strace',
      ...straceOptions(join(directory, 'trace')),
      ...strace,
      ...(command === undefined ? [process.execPath, mainModule] : [command]),
    ];
    const launcher = join(directory, 'launch');
    const script = `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`;
    await writeFile(launcher, script, { mode: 0o700 });
    const env = {
      // One thread for files, because strace counts the calls of each thread
      // separately.
      UV_THREADPOOL_SIZE: '1',
      NODE_OPTIONS: `--import=${witness}`,
      KEYS_WITNESS: join(directory, 'keys'),
      ...(leak !== undefined && { KEYS_LEAK: leak, KEYS_PAIR: node.current('kubelet-client') }),
    };
    return new WatchedAgent(node, node.start({ command: launcher, env }), directory);
  }

  /** The PIDs of all enrollers so far. */
  get enrollers(): number[] {
    return this.agent.all('enroller_started').map(({ pid }) => Number(pid));
  }

  /** @throws if the memory of the keeper has any part of a key */
  requireCleanKeeper(): void {
    this.keys.refresh();
    const found = searchProcess(this.agent.pid, this.keys.matcher);
    if (found.length > 0) throw new Error(`the keeper's memory has ${describe(found)}`);
  }

  /** Returns the parts of keys in the memory of the running enroller. */
  searchEnroller(): MemoryMatch[] {
    this.keys.refresh();
    return searchProcess(this.enrollers.at(-1) ?? 0, this.keys.matcher);
  }

  /**
   * Runs after the end of the agent. Returns the keys that were written to pair files.
   * @throws if a part of a key was written elsewhere
   */
  async requireCleanTrace(): Promise<Set<string>> {
    this.keys.refresh();
    await this.#traced();
    const written = await searchTrace(this.#trace, this.keys.matcher);
    const elsewhere = written.filter(
      ({ where }) => !this.#isPair(where) && !this.#isChannel(where),
    );
    if (elsewhere.length > 0) throw new Error(`written were ${describe(elsewhere)}`);
    const pairs = written.filter(({ where }) => this.#isPair(where));
    return new Set(pairs.map(({ needle }) => needle.key));
  }

  /** The text of every pair file on the node. The agent may rename a temporary file at any moment. */
  async pairs(): Promise<string[]> {
    const names = await readdir(this.#node.pki);
    const files = names.filter((file) => !file.startsWith('.') && isOfPair(file));
    return Promise.all(files.map((file) => readFile(join(this.#node.pki, file), 'utf8')));
  }

  /** Waits for the tracer, which ends after the agent. */
  async #traced(): Promise<void> {
    for (let left = scaled(400); left > 0; left -= 1) {
      const text = await readFile(this.#trace, 'latin1');
      if (new RegExp(`^${this.agent.pid} +\\+\\+\\+`, 'm').test(text)) return;
      await delay(25);
    }
    throw new Error('strace did not record the end of the agent');
  }

  /** Whether it is a pair file or its temporary file. */
  #isPair(where: string): boolean {
    const { pki } = this.#node;
    if (!where.startsWith(`${pki}/`)) return false;
    return isOfPair(where.slice(pki.length + 1).replace(/^\.nodecertd-[0-9a-f]{16}\./, ''));
  }

  #isChannel(where: string): boolean {
    return where.startsWith(`${join(this.#trace, '../keys')}/`);
  }
}

function isOfPair(file: string): boolean {
  return isPairFile(file.replace(/-\d{4}(?:-\d{2}){5}.*$/, ''), file);
}

/** The matches in up to a dozen lines. */
export function describe(
  found: readonly { readonly needle: { key: string; form: string }; readonly where: string }[],
): string {
  const lines = found.map(({ needle, where }) => `${needle.form}: ${where}`);
  const keys = new Set(found.map(({ needle }) => needle.key));
  return `parts of ${keys.size} keys:\n${[...new Set(lines)].slice(0, 12).join('\n')}`;
}
