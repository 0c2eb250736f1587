import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { formatHostPort } from '../../../src/core/host-port.ts';
import { pinOf, TestCluster } from '../../discovery/support/test-cluster.ts';
import { areDumpsInWorkingDirectory, withDumps } from '../../support/core-dumps.ts';
import { NewMachine } from '../../support/new-machine.ts';
import { findProgram } from '../../support/programs.ts';
import { launcherOfSources } from './launcher.ts';
import { Matcher } from './matcher.ts';
import { tokenNeedlesOf } from './needles.ts';
import { searchTrace, straceOptions } from './trace.ts';
import { describe } from './watched-agent.ts';

/** Not in the source code of Node or of the program. */
const token = 'q7w3ex.k2v9x4c8m1z5b7n6';

export interface DiscoverRoundResult {
  readonly commands: number;
  readonly dumps: number;
}

/** Runs `nodecertd discover` in every way, and searches for the token in everything that it writes. */
export async function runDiscoverRound(program?: string): Promise<DiscoverRoundResult> {
  await using cluster = await TestCluster.start();
  cluster.signing = [token];
  cluster.authenticating = [token];
  await using round = await DiscoverRound.create(cluster, program);
  await round.discover();
  await round.discoverAgain();
  await round.fail();
  await round.requireSearch();
  await round.dumpAtEachSync();
  return { commands: round.commands, dumps: round.dumps };
}

interface Options {
  /** Standard input. */
  readonly input?: string;
  /** A fault, as an option of strace. */
  readonly inject?: string;
}

class DiscoverRound implements AsyncDisposable {
  commands = 0;
  dumps = 0;
  readonly #cluster: TestCluster;
  readonly #directory: string;
  readonly #program: string;
  readonly #machine: NewMachine;
  readonly #matcher = new Matcher();

  private constructor(
    cluster: TestCluster,
    parts: {
      readonly directory: string;
      readonly program: string;
      readonly machine: NewMachine;
    },
  ) {
    this.#cluster = cluster;
    this.#directory = parts.directory;
    this.#program = parts.program;
    this.#machine = parts.machine;
    this.#matcher.add(tokenNeedlesOf(token));
  }

  static async create(cluster: TestCluster, released?: string): Promise<DiscoverRound> {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-fault-discover-'));
    const program = released ?? (await launcherOfSources(directory));
    const machine = await NewMachine.create(token);
    return new DiscoverRound(cluster, { directory, program, machine });
  }

  async discover(): Promise<void> {
    await this.#run(0, this.#args, { writes: true });
    await this.#run(0, [...this.#args, '-o', 'json']);
    await this.#run(0, [...this.#args, '--dry-run', '-o', 'yaml']);
  }

  /** With the token and the line of kubeadm on standard input, which no other process sees. */
  async discoverAgain(): Promise<void> {
    const { output } = this.#machine;
    const [endpoint, pin] = [this.#endpoint, this.#pin];
    await rm(output);
    const known = ['--endpoint', endpoint, '--ca-cert-hash', pin, '--output', output];
    await this.#run(0, ['--token-file', '-', ...known], { input: token, writes: true });
    await rm(output);
    const line = `kubeadm join ${endpoint} --token ${token} \\\n  --discovery-token-ca-cert-hash ${pin}`;
    await this.#run(0, ['--join', '-', '--output', output], { input: line, writes: true });
  }

  async fail(): Promise<void> {
    this.#cluster.authenticating = [];
    await this.#run(1, this.#args);
    this.#cluster.authenticating = [token];
    await this.#run(1, ['--endpoint', 'localhost:1', ...this.#args.slice(2), '--timeout', '1s']);
    await using damaged = await NewMachine.create(`${token}x`);
    await this.#run(2, [...this.#args, '--token-file', damaged.tokenFile]);
    await rm(this.#machine.output);
    await this.#run(1, this.#args, { inject: 'fsync:error=ENOSPC:when=1+', writes: true });
  }

  /** The search finds a token that is an argument. @throws if it does not */
  async requireSearch(): Promise<void> {
    const known = ['--endpoint', this.#endpoint, '--ca-cert-hash', this.#pin];
    const args = [...known, '--token', token, '--output', this.#machine.output];
    const found = await this.#run(0, args, { writes: true }).then(() => 'nothing', String);
    if (!found.includes('execve')) throw new Error(`the search has found ${found}`);
  }

  async dumpAtEachSync(): Promise<void> {
    if (!areDumpsInWorkingDirectory) return;
    for (const nth of [1, 2]) {
      await rm(this.#machine.output, { force: true });
      await this.#dump(nth);
    }
  }

  get #endpoint(): string {
    return formatHostPort(this.#cluster.endpoint);
  }

  get #pin(): string {
    return pinOf(this.#cluster.authority.pem);
  }

  get #args(): string[] {
    const { tokenFile, output } = this.#machine;
    const known = ['--endpoint', this.#endpoint, '--ca-cert-hash', this.#pin];
    return [...known, '--token-file', tokenFile, '--output', output];
  }

  /**
   * @param expected the exit code
   * @throws if the token was written to another place than the kubeconfig, or if strace missed it there
   */
  async #run(
    expected: number,
    args: readonly string[],
    { writes = false, ...options }: Options & { readonly writes?: boolean } = {},
  ): Promise<void> {
    const { code, stderr } = await this.#start(args, options);
    this.commands += 1;
    const words = `discover ${args.join(' ')}`;
    if (code !== expected) throw new Error(`${words} exited with ${code}: ${stderr}`);
    const written = await searchTrace(this.#trace, this.#matcher);
    const elsewhere = written.filter(({ where }) => !this.#isOutput(where));
    if (elsewhere.length > 0) throw new Error(`${words} wrote ${describe(elsewhere)}`);
    if (written.length > 0 !== writes) {
      throw new Error(`${words}: strace saw ${written.length} writes of the token`);
    }
  }

  async #dump(nth: number): Promise<void> {
    await this.#start(this.#args, { inject: `fsync:signal=SIGABRT:when=${nth}` });
    const names = await readdir(this.#directory);
    const file = names.find((name) => name.startsWith('core'));
    if (file === undefined) throw new Error(`discover was not killed at fsync ${nth}`);
    const bytes = await readFile(join(this.#directory, file));
    await rm(join(this.#directory, file));
    this.dumps += 1;
    const found = this.#matcher.search(bytes);
    const parts = found.map(({ needle }) => ({ needle, where: 'core dump' }));
    if (found.length > 0) throw new Error(`a core dump of discover has ${describe(parts)}`);
  }

  async #start(
    args: readonly string[],
    { input = '', inject }: Options,
  ): Promise<{ readonly code: number | null; readonly stderr: string }> {
    await rm(this.#trace, { force: true });
    const [command = '', ...words] = [
      ...withDumps,
      findProgram('strace') ?? 'strace',
      ...straceOptions(this.#trace),
      ...(inject === undefined ? [] : ['-e', `inject=${inject}`]),
      this.#program,
      'discover',
      ...args,
    ];
    const child = spawn(command, words, {
      cwd: this.#directory,
      stdio: ['pipe', 'pipe', 'pipe'],
      // One thread for files, because strace counts the calls of each thread separately.
      env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
    });
    child.stdin.end(input);
    child.stdout.resume();
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    return { code: code as number | null, stderr };
  }

  get #trace(): string {
    return join(this.#directory, 'trace');
  }

  /** The kubeconfig, and its temporary file. */
  #isOutput(where: string): boolean {
    const { folder } = this.#machine;
    if (!where.startsWith(`${folder}/`)) return false;
    return /^(?:\.nodecertd-[0-9a-f]{16}\.)?bootstrap-kubelet\.conf~?$/.test(
      where.slice(folder.length + 1),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
