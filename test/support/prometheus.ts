import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Child } from './child.ts';
import { freePort } from './free-ports.ts';
import { scaled } from './machine-speed.ts';
import { findProgram } from './programs.ts';

export interface PrometheusOptions {
  /** `host:port` that Prometheus scrapes every second as the job nodecertd. */
  readonly target: string;
  /** `host:port` that it scrapes as the job nodecertd-approver. */
  readonly approver?: string;
  /** The path of a rules file. Its `for:` become zero, see `withoutDelays`. */
  readonly rules: string;
}

/** One entry of /api/v1/alerts. */
export interface Alert {
  readonly state: 'pending' | 'firing';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Prometheus {
  readonly url: string;
  /** The alerts that fire now. */
  firing(): Promise<readonly Alert[]>;
  /** The results of an instant query. */
  query(expression: string): Promise<readonly QueryResult[]>;
  /** Waits until a probe returns a value. Scrapes and evaluations run every second. */
  until<Found>(what: string, probe: () => Promise<Found | undefined>): Promise<Found>;
}

export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Runs a real Prometheus on loopback, in its own folder, until `use` settles. */
export async function withPrometheus(
  options: PrometheusOptions,
  use: (prometheus: Prometheus) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'nodecertd-prometheus-'));
  try {
    await writeFile(
      join(directory, 'rules.yaml'),
      withoutDelays(await readFile(options.rules, 'utf8')),
    );
    await writeFile(join(directory, 'prometheus.yml'), configuration(options));
    await using server = await start(directory);
    await use(server);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Sets every `for:` of the rules to zero, so that an alert fires at the first
 * evaluation at which its expression is true. promtool's unit tests check the real
 * values of `for:` with simulated time.
 */
export function withoutDelays(rules: string): string {
  return rules.replace(/^(\s+for:) .*$/gm, '$1 0s');
}

function configuration({ target, approver }: PrometheusOptions): string {
  return `
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [rules.yaml]
scrape_configs:
  - job_name: nodecertd
    static_configs: [{ targets: ["${target}"] }]
  - job_name: nodecertd-approver
    static_configs: [{ targets: [${approver === undefined ? '' : `"${approver}"`}] }]
`;
}

async function start(directory: string): Promise<Prometheus & AsyncDisposable> {
  const command = findProgram('prometheus');
  if (command === undefined) throw new Error('prometheus was not found');
  const port = await freePort();
  const child = new Child({
    name: 'Prometheus',
    command,
    args: [
      `--config.file=${join(directory, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    logFile: join(directory, 'log'),
  });
  const running = new RunningPrometheus(child, `http://127.0.0.1:${port}`);
  try {
    await running.until('Prometheus to be ready', () => running.ready());
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
  return running;
}

const patienceMs = scaled(30_000);

class RunningPrometheus implements Prometheus, AsyncDisposable {
  readonly url: string;
  readonly #child: Child;

  constructor(child: Child, url: string) {
    this.url = url;
    this.#child = child;
  }

  async ready(): Promise<true | undefined> {
    try {
      return (await fetch(`${this.url}/-/ready`)).ok ? true : undefined;
    } catch {
      return undefined;
    }
  }

  async firing(): Promise<readonly Alert[]> {
    const { alerts } = (await this.#get('alerts')) as { alerts: readonly Alert[] };
    return alerts.filter(({ state }) => state === 'firing');
  }

  async query(expression: string): Promise<readonly QueryResult[]> {
    const { result } = (await this.#get(`query?query=${encodeURIComponent(expression)}`)) as {
      result: readonly {
        readonly metric: Readonly<Record<string, string>>;
        readonly value: readonly [number, string];
      }[];
    };
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async until<Found>(what: string, probe: () => Promise<Found | undefined>): Promise<Found> {
    const end = Date.now() + patienceMs;
    while (Date.now() < end && this.#child.running) {
      const found = await probe();
      if (found !== undefined) return found;
      await delay(100);
    }
    throw this.#child.failure(`did not reach this in time: ${what}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop();
  }

  async #get(path: string): Promise<unknown> {
    const response = await fetch(`${this.url}/api/v1/${path}`);
    const { status, data } = (await response.json()) as { status: string; data: unknown };
    if (status !== 'success') throw new Error(`Prometheus answered ${status} to ${path}`);
    return data;
  }
}
