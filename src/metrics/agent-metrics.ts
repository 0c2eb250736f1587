import type { ApiRequestRecord } from '../core/enroller-protocol.ts';
import type { ErrorCode } from '../core/errors.ts';
import { attemptCodes } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus } from '../core/status.ts';
import { ageBuckets, requestBuckets, rotationBuckets } from './buckets.ts';
import { CertificateGauges } from './certificate-gauges.ts';
import type { Health } from './health.ts';
import type { HookRunRecord } from './hook-metrics.ts';
import { HookMetrics } from './hook-metrics.ts';
import { KubeletMetrics } from './kubelet-metrics.ts';
import { PreflightGauge } from './preflight-gauge.ts';
import { ProcessMetrics } from './process-metrics.ts';
import { Counter, Gauge, Histogram, Registry } from './prom-client.ts';

/** How an enroller ended: done with its work, gone without a word, or killed for its silence. */
export const enrollerEnds = ['finished', 'lost', 'hung'] as const;
export type EnrollerEnd = (typeof enrollerEnds)[number];

/** Asked at every scrape; the only source of the time too. */
export interface AgentMetricsOptions {
  readonly status: () => AgentStatus;
  readonly health: () => Health;
  /** Whether to export the kubelet's own five names as well; a reload may change it. */
  readonly kubeletNames: () => boolean;
}

export interface StoredRecord {
  readonly name: string;
  /** Seconds since the notBefore of the pair that was replaced, as the kubelet counts; absent for a first one. */
  readonly ageOfReplaced?: number | undefined;
  /** From the decision to ask for a certificate to the moment the link names it. */
  readonly seconds: number;
}

/** Everything the agent exports: gauges from its status at the scrape, counters and histograms from what it reports here. */
export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #options: AgentMetricsOptions;
  readonly #certificates = new CertificateGauges(this.#registry);
  readonly #hooks = new HookMetrics(this.#registry);
  readonly #preflight = new PreflightGauge(this.#registry);
  readonly #process = new ProcessMetrics(this.#registry);
  #kubelet: KubeletMetrics | undefined;
  /** By a reload; at the start, otherwise. */
  #configReadAt: Instant | undefined;
  readonly #introduced = new Set<string>();

  readonly #rotations = this.#counter(
    'rotations_total',
    'Certificates issued, stored and linked.',
    ['certificate'],
  );
  readonly #requests = this.#counter(
    'csr_requests_total',
    'Certificate signing requests created on the API server.',
    ['certificate'],
  );
  readonly #failures = this.#counter(
    'rotation_failures_total',
    'Attempts at a certificate that failed, by error code.',
    ['certificate', 'code'],
  );
  readonly #apiRequests = this.#counter(
    'api_requests_total',
    'Finished requests to the API server by verb and HTTP status, or error code where no answer came.',
    ['verb', 'code'],
  );
  readonly #enrollerRestarts = this.#counter(
    'enroller_restarts_total',
    'Enroller processes that ended before their work was done.',
    ['reason'],
  );
  readonly #age = this.#histogram(
    'certificate_age_at_rotation_seconds',
    'Age of a certificate when it was replaced.',
    { labels: ['certificate'], buckets: ageBuckets },
  );
  readonly #duration = this.#histogram(
    'rotation_duration_seconds',
    'Time from asking for a certificate to its being stored and linked.',
    { labels: ['certificate'], buckets: rotationBuckets },
  );
  readonly #apiDuration = this.#histogram(
    'api_request_duration_seconds',
    'Duration of requests to the API server; a watch lasts as long as it is open.',
    { labels: ['verb'], buckets: requestBuckets },
  );
  readonly #enrollerRunning = this.#gauge(
    'enroller_running',
    '1 while an enroller process is running.',
  );
  readonly #clockSkew = this.#gauge(
    'clock_skew_seconds',
    'Clock of the node minus clock of the API server, to the second; absent until measured.',
  );
  readonly #lastTick = this.#gauge(
    'loop_last_tick_timestamp_seconds',
    'When the rotation loop last came round, as a Unix time; it does so every minute.',
  );
  readonly #loopStuck = this.#gauge(
    'loop_stuck',
    '1 while the rotation loop has not come round for over three minutes.',
  );
  readonly #buildInfo = this.#gauge('build_info', 'Always 1; the versions are in the labels.', [
    'version',
    'node_version',
  ]);

  readonly #reloads = this.#counter(
    'config_reloads_total',
    'Times that the configuration was read anew, by what came of it.',
    ['result'],
  );
  readonly #lastReloadSuccessful = this.#gauge(
    'config_last_reload_successful',
    '1 unless the last configuration that was read was refused.',
  );
  readonly #lastReloadSuccess = this.#gauge(
    'config_last_reload_success_timestamp_seconds',
    'When the configuration in use was read, as a Unix time.',
  );

  constructor(options: AgentMetricsOptions) {
    this.#options = options;
    this.#clockSkew.remove();
    for (const result of ['accepted', 'refused'] as const) this.#reloads.inc({ result }, 0);
    this.#lastReloadSuccessful.set(1);
    for (const reason of enrollerEnds) {
      if (reason !== 'finished') this.#enrollerRestarts.inc({ reason }, 0);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text exposition format. Gauges and counters are read in one synchronous pass, so they belong together. */
  async render(): Promise<string> {
    const status = this.#options.status();
    for (const { name } of status.certificates) this.#introduce(name);
    this.#certificates.refresh(status);
    this.#hooks.refresh(status);
    this.#preflight.refresh(status);
    this.#process.refresh(status);
    const kubelet = this.#kubeletNames;
    kubelet?.refresh(status);
    const { lastTick, stuckAt } = this.#options.health();
    this.#lastTick.set(lastTick / second);
    this.#loopStuck.set(Number(stuckAt !== undefined));
    this.#lastReloadSuccess.set((this.#configReadAt ?? status.startedAt) / second);
    this.#buildInfo.set({ version: status.version, node_version: process.version }, 1);
    return (await this.#registry.metrics()) + ((await kubelet?.render()) ?? '');
  }

  recordReload(result: 'accepted' | 'refused', now: Instant): void {
    this.#reloads.inc({ result });
    this.#lastReloadSuccessful.set(Number(result === 'accepted'));
    if (result === 'accepted') this.#configReadAt = now;
  }

  recordApiRequest({ verb, code, seconds }: ApiRequestRecord): void {
    this.#apiRequests.inc({ verb, code });
    this.#apiDuration.observe({ verb }, notNegative(seconds));
  }

  /** A CSR was created; watching one that stands does not count. */
  recordRequested(name: string): void {
    this.#introduce(name);
    this.#requests.inc({ certificate: name });
  }

  recordStored({ name, ageOfReplaced, seconds }: StoredRecord): void {
    this.#introduce(name);
    this.#rotations.inc({ certificate: name });
    this.#duration.observe({ certificate: name }, notNegative(seconds));
    if (ageOfReplaced === undefined) return;
    this.#age.observe({ certificate: name }, notNegative(ageOfReplaced));
    this.#kubeletNames?.recordStored(this.#signerOf(name), notNegative(ageOfReplaced));
  }

  recordFailure(name: string, code: ErrorCode): void {
    this.#introduce(name);
    this.#failures.inc({ certificate: name, code });
    this.#kubeletNames?.recordFailure(this.#signerOf(name));
  }

  recordHookRun(run: HookRunRecord): void {
    this.#hooks.record(run);
  }

  recordEnrollerStart(): void {
    this.#enrollerRunning.set(1);
  }

  recordEnrollerEnd(reason: EnrollerEnd): void {
    this.#enrollerRunning.set(0);
    if (reason !== 'finished') this.#enrollerRestarts.inc({ reason });
  }

  /** @param ms local minus server clock in milliseconds */
  setClockSkew(ms: number): void {
    this.#clockSkew.set(ms / second);
  }

  /** Counts go on where they were when the names come back. */
  get #kubeletNames(): KubeletMetrics | undefined {
    if (!this.#options.kubeletNames()) return undefined;
    this.#kubelet ??= new KubeletMetrics();
    return this.#kubelet;
  }

  #introduce(certificate: string): void {
    if (this.#introduced.has(certificate)) return;
    this.#introduced.add(certificate);
    this.#rotations.inc({ certificate }, 0);
    this.#requests.inc({ certificate }, 0);
    for (const code of attemptCodes) this.#failures.inc({ certificate, code }, 0);
    this.#age.zero({ certificate });
    this.#duration.zero({ certificate });
  }

  #signerOf(name: string): string | undefined {
    return this.#options.status().certificates.find((one) => one.name === name)?.signerName;
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({
      name: `nodecertd_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
    });
  }

  #gauge<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Gauge<Label> {
    return new Gauge({ name: `nodecertd_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram<Label extends string>(
    name: string,
    help: string,
    { labels, buckets }: { labels: Label[]; buckets: readonly number[] },
  ): Histogram<Label> {
    return new Histogram({
      name: `nodecertd_${name}`,
      help,
      labelNames: labels,
      buckets: [...buckets],
      registers: [this.#registry],
    });
  }
}

/** A clock set back while something was measured must not make a sum shrink: Prometheus takes that for a restart. */
function notNegative(seconds: number): number {
  return Math.max(seconds, 0);
}
