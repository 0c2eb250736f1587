import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Child } from '../support/child.ts';
import type { AgentProgram } from './agents.ts';
import { CountingProxy } from './counting-proxy.ts';
import type { ProcessUsage } from './process-usage.ts';
import { processUsage } from './process-usage.ts';

/** A moment at which the link named another pair. */
export interface LinkChange {
  /** Milliseconds of `performance.now()`. */
  readonly at: number;
  /** PEM of the leaf, without line ends: what an issued CSR is recognized by. */
  readonly leaf: string;
}

export interface AgentEnvironment {
  readonly program: AgentProgram;
  readonly nodeName: string;
  readonly directory: string;
  readonly apiPort: number;
  /** Kubeconfig with the bootstrap token and the API server's own address. */
  readonly bootstrapKubeconfig: string;
}

/** One run of an agent on files of its own, watched from outside. */
export class RunningAgent implements AsyncDisposable {
  readonly nodeName: string;
  readonly links: LinkChange[] = [];
  readonly #child: Child;
  readonly #proxy: CountingProxy;
  readonly #watcher: FSWatcher;
  readonly #current: string;
  readonly #directory: string;
  readonly #metricsUrl: (() => string) | undefined;
  readonly #startedAt = performance.now();
  #target = '';

  private constructor(
    environment: AgentEnvironment,
    parts: {
      readonly child: () => Child;
      readonly proxy: CountingProxy;
      readonly directory: string;
      readonly metricsUrl: (() => string) | undefined;
    },
  ) {
    const certDirectory = join(parts.directory, 'pki');
    this.nodeName = environment.nodeName;
    this.#directory = parts.directory;
    this.#metricsUrl = parts.metricsUrl;
    this.#proxy = parts.proxy;
    this.#current = join(certDirectory, 'kubelet-client-current.pem');
    // inotify tells of the rename within microseconds; polling would cost what is measured.
    this.#watcher = watch(certDirectory, () => {
      this.#look();
    });
    this.#child = parts.child();
  }

  static async start(environment: AgentEnvironment): Promise<RunningAgent> {
    const { program, nodeName, apiPort, bootstrapKubeconfig } = environment;
    const directory = mkdtempSync(join(environment.directory, `${nodeName}-`));
    const files = {
      nodeName,
      bootstrapKubeconfig: join(directory, 'bootstrap.conf'),
      kubeconfig: join(directory, 'kubelet.conf'),
      certDirectory: join(directory, 'pki'),
      workDirectory: join(directory, 'work'),
    };
    mkdirSync(files.certDirectory, { mode: 0o700 });
    mkdirSync(files.workDirectory, { mode: 0o700 });
    const proxy = new CountingProxy(apiPort);
    const server = await proxy.listen();
    const kubeconfig = bootstrapKubeconfig.replace(/(?<=server: )\S+/, server);
    await writeFile(files.bootstrapKubeconfig, kubeconfig, { mode: 0o600 });
    const child = (): Child =>
      new Child({
        name: program.name,
        command: program.command,
        args: program.args(files),
        logFile: join(directory, 'log'),
      });
    const metricsUrl = program.metricsUrl?.bind(program, files);
    return new RunningAgent(environment, { child, proxy, directory, metricsUrl });
  }

  get bytes(): number {
    return this.#proxy.bytes;
  }

  /** Milliseconds from the start of the process to its first pair. */
  get firstPairAfter(): number {
    return (this.links[0]?.at ?? Number.NaN) - this.#startedAt;
  }

  /** Scrapes its metrics so many times, a new connection each; false when it has none. */
  async scrape(count: number): Promise<boolean> {
    const url = this.#metricsUrl?.();
    if (url === undefined) return false;
    for (let scrape = 0; scrape < count; scrape += 1) {
      const response = await fetch(url, { headers: { connection: 'close' } });
      await response.text();
    }
    return true;
  }

  usage(): ProcessUsage {
    return processUsage(this.#child.pid);
  }

  /** Waits for pairs to be linked, until there are `count` or the signal aborts. */
  async linked(count: number, signal: AbortSignal): Promise<void> {
    while (this.links.length < count && !signal.aborted) {
      if (!this.#child.running) throw this.#child.failure('ended');
      await delay(20);
    }
    if (this.links.length === 0) throw this.#child.failure('has no pair');
  }

  /** Readers of the directory see the link missing for a moment with client-go; the event that follows has it. */
  #look(): void {
    const at = performance.now();
    try {
      const target = readlinkSync(this.#current);
      if (target === this.#target) return;
      const leaf = leafOf(readFileSync(this.#current, 'utf8'));
      if (leaf === undefined) return;
      this.#target = target;
      this.links.push({ at, leaf });
    } catch {
      // No link at this moment.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    await this.#child.stop();
    await this.#proxy[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export function leafOf(pem: string): string | undefined {
  const block = /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(pem)?.[1];
  return block?.replace(/\s/g, '');
}
