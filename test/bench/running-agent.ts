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

/** A change of the link to another pair. */
export interface LinkChange {
  /** Milliseconds of `performance.now()`. */
  readonly at: number;
  /** The PEM of the leaf without line ends, which identifies the issued CSR. */
  readonly leaf: string;
}

export interface AgentEnvironment {
  readonly program: AgentProgram;
  readonly nodeName: string;
  readonly directory: string;
  readonly apiPort: number;
  /** A kubeconfig with the bootstrap token and the API server's own address. */
  readonly bootstrapKubeconfig: string;
}

/** One run of an agent, observed from outside. */
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
    // inotify reports the rename within microseconds. Polling would distort the
    // measured times.
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

  /**
   * Scrapes the metrics so many times, each on a new connection. Returns false if the
   * agent has none.
   */
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

  /** Waits until `count` pairs have been linked or the signal aborts. */
  async linked(count: number, signal: AbortSignal): Promise<void> {
    while (this.links.length < count && !signal.aborted) {
      if (!this.#child.running) throw this.#child.failure('ended');
      await delay(20);
    }
    if (this.links.length === 0) throw this.#child.failure('has no pair');
  }

  /** client-go removes the link for a moment. The next event has the new one. */
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
      // The link is missing at this moment.
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
