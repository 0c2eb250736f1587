import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { rolloverDirectory } from '../../../src/pki/renewal/rollover-runs.ts';
import type { Image } from './image.ts';
import { describeImage, digestsIn, readImage, writeImage } from './image.ts';
import type { KilledRequest } from './killed.process.ts';
import { makeNode } from './node.ts';
import type { Call } from './recording.ts';
import { Runtime } from './runtime.ts';
import type { Series } from './series.ts';
import type { OnPart, Snapshot } from './step.ts';
import {
  applyStep,
  directoriesIn,
  filesIn,
  lockNode,
  requireRecovery,
  requireReturn,
  undo,
} from './step.ts';
import { countFrom } from './same-calls.ts';

/** A node on which one command runs again and again, from the same files. */
export class Scene implements AsyncDisposable {
  readonly node: string;
  readonly series: Series;
  readonly #root: string;
  readonly #initial: Image;
  readonly #before: Snapshot;
  readonly #paths: readonly string[];
  readonly #known: ReadonlySet<string>;
  /** Seconds, by the description of the files. */
  readonly #recoveries = new Map<string, number>();

  private constructor(
    root: string,
    series: Series,
    {
      initial,
      before,
      paths,
    }: {
      readonly initial: Image;
      /** The files before the step. */
      readonly before: Snapshot;
      /** The files after the step. */
      readonly paths: readonly string[];
    },
  ) {
    this.#root = root;
    this.node = nodeIn(root);
    this.series = series;
    this.#initial = withoutProcesses(initial);
    this.#before = before;
    this.#paths = paths;
    this.#known = digestsIn(this.#initial);
  }

  static async open(series: Series): Promise<Scene> {
    const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-apply-'));
    const node = nodeIn(root);
    const { ca, step, earlier, action } = series;
    await makeNode(node, ca);
    for (const one of earlier) await applyStep(node, { ca, step: one });
    await rm(rolloverDirectory(directoriesIn(node)), { recursive: true, force: true });
    const before = await filesIn(node);
    const unchanged = readImage(node);
    await applyStep(node, { ca, step });
    const paths = [...(await filesIn(node)).keys()];
    const initial = action === 'undo' ? readImage(node) : unchanged;
    return new Scene(root, series, { initial, before, paths });
  }

  /** For the output of strace. */
  get output(): string {
    return join(this.#root, 'strace');
  }

  /** How many states of the files were recovered. */
  get states(): number {
    return this.#recoveries.size;
  }

  /** Puts the node into its state before the command. */
  start(): void {
    writeImage(this.node, this.#initial);
    new Runtime(this.node).boot();
    countFrom(0);
  }

  /** @throws AgentError */
  async run(onPart: OnPart): Promise<void> {
    await runCommand(this.node, this.series, onPart);
  }

  /** Runs the command in a process of its own, which is killed before the call. */
  async kill(call: Call, calls: readonly Call[]): Promise<void> {
    this.start();
    const { node, output, series } = this;
    const program = join(import.meta.dirname, 'killed.process.ts');
    const request: KilledRequest = { node, output, series, call, calls };
    const child = spawn(process.execPath, [program], { stdio: ['pipe', 'ignore', 'pipe'] });
    child.stdin.end(JSON.stringify(request));
    const [problems, [, signal]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    if (signal !== 'SIGKILL') throw new Error(`the process was not killed: ${problems}`);
  }

  /** Two faults with the same text have left the same files, except for random bytes and times. */
  get state(): string {
    return this.describe(readImage(this.node));
  }

  describe(image: Image): string {
    return describeImage(image, this.#known);
  }

  /**
   * Tries the recovery from the files of the node. States that differ only in random bytes and times are
   * tried once.
   * @returns seconds
   */
  async recover(): Promise<number> {
    const { state } = this;
    const earlier = this.#recoveries.get(state);
    if (earlier !== undefined) return earlier;
    // Temporary files get other names than those that may be left.
    countFrom(1_000_000);
    const began = performance.now();
    await this.#requireRecovery();
    const took = (performance.now() - began) / 1000;
    this.#recoveries.set(state, took);
    return took;
  }

  async #requireRecovery(): Promise<void> {
    const { ca, step, stage } = this.series;
    const paths = this.#paths;
    if (stage !== undefined) await requireReturn(this.node, { ca, stage }, paths);
    else await requireRecovery(this.node, { ca, step }, { before: this.#before, paths });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}

/** @throws AgentError */
export async function runCommand(
  node: string,
  { ca, step, action }: Series,
  onPart: OnPart,
): Promise<void> {
  await using _ = await lockNode(node);
  if (action === 'undo') await undo(node, { ca, step });
  else await applyStep(node, { ca, step }, onPart);
}

function nodeIn(root: string): string {
  return join(root, 'node');
}

function withoutProcesses(image: Image): Image {
  return new Map([...image].filter(([path]) => !/^proc(\/|$)/.test(path)));
}
