import type { ApiRequestRecord } from '../core/enroller-protocol.ts';
import type { ErrorCode } from '../core/errors.ts';
import { attemptCodes } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus } from '../core/status.ts';
import type { TrustRefusal } from '../core/trust.ts';
import { ageBuckets, requestBuckets, rotationBuckets } from './buckets.ts';
import { CertificateGauges } from './certificate-gauges.ts';
import type { Health } from './health.ts';
import type { HookRunRecord } from './hook-metrics.ts';
import { HookMetrics } from './hook-metrics.ts';
import { KubeletMetrics } from './kubelet-metrics.ts';
import { FindingsGauge } from './findings-gauge.ts';
import type { PkiResult } from './pki-metrics.ts';
import { PkiMetrics } from './pki-metrics.ts';
import { ProcessMetrics } from './process-metrics.ts';
import { Counter, Gauge, Histogram, Registry } from './prom-client.ts';
import { TrustMetrics } from './trust-metrics.ts';

/** How an enroller process ended: work done, exited early, or killed because it stopped answering. */
export const enrollerEnds = ['finished', 'lost', 'hung'] as const;
export type EnrollerEnd = (typeof enrollerEnds)[number];

/** Called at every scrape. The status is also the only source of the time. */
export interface AgentMetricsOptions {
  readonly status: () => AgentStatus;
  readonly health: () => Health;
  /** Whether to export the kubelet's five metric names too; a reload can change it. */
  readonly kubeletNames: () => boolean;
  /** The series of the last inventory, in the text format; undefined while there are no scans. */
  readonly inventory?: () =>
    | { readonly text: string; readonly intervalSeconds: number }
    | undefined;
}

export interface StoredRecord {
  readonly name: string;
  /** Seconds since notBefore of the replaced certificate, as the kubelet counts; absent for the first certificate. */
  readonly ageOfReplaced?: number | undefined;
  /** Seconds from the decision to request a certificate until the link points to it. */
  readonly seconds: number;
}

/** Everything the agent exports. Gauges are read from the status at each scrape; the record…() methods feed counters and histograms. */
export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #options: AgentMetricsOptions;
  readonly #certificates = new CertificateGauges(this.#registry);
  readonly #hooks = new HookMetrics(this.#registry);
  readonly #pki = new PkiMetrics(this.#registry);
  readonly #trust = new TrustMetrics(this.#registry);
  readonly #preflight = new FindingsGauge(this.#registry);
  readonly #process = new ProcessMetrics(this.#registry);
  #kubelet: KubeletMetrics | undefined;
  /** Undefined until the first reload. */
  #configReadAt: Instant | undefined;
  readonly #introduced = new Set<string>();

  readonly #rotations = this.#counter(
    'nodecertd_rotations_total',
    'Certificates issued, stored and linked.',
    ['certificate'],
  );
  readonly #requests = this.#counter(
    'nodecertd_csr_requests_total',
    'Certificate signing requests created on the API server.',
    ['certificate'],
  );
  readonly #failures = this.#counter(
    'nodecertd_rotation_failures_total',
    'Failed attempts to get a certificate, by error code.',
    ['certificate', 'code'],
  );
  readonly #apiRequests = this.#counter(
    'nodecertd_api_requests_total',
    'Finished requests to the API server, by verb and by HTTP status, or error code if there was no response.',
    ['verb', 'code'],
  );
  readonly #enrollerRestarts = this.#counter(
    'nodecertd_enroller_restarts_total',
    'Enroller processes that ended before their work was done.',
    ['reason'],
  );
  readonly #age = this.#histogram(
    'nodecertd_certificate_age_at_rotation_seconds',
    'Age of a certificate when it was replaced.',
    { labels: ['certificate'], buckets: ageBuckets },
  );
  readonly #duration = this.#histogram(
    'nodecertd_rotation_duration_seconds',
    'Time from requesting a certificate until it is stored and linked.',
    { labels: ['certificate'], buckets: rotationBuckets },
  );
  readonly #apiDuration = this.#histogram(
    'nodecertd_api_request_duration_seconds',
    'Duration of requests to the API server; a watch counts for as long as it is open.',
    { labels: ['verb'], buckets: requestBuckets },
  );
  readonly #enrollerRunning = this.#gauge(
    'nodecertd_enroller_running',
    '1 while an enroller process is running.',
  );
  readonly #clockSkew = this.#gauge(
    'nodecertd_clock_skew_seconds',
    'Clock of the node minus clock of the API server, in whole seconds; absent until measured.',
  );
  readonly #lastTick = this.#gauge(
    'nodecertd_loop_last_tick_timestamp_seconds',
    'When the rotation loop last ran, as a Unix time; it runs every minute.',
  );
  readonly #loopStuck = this.#gauge(
    'nodecertd_loop_stuck',
    '1 while the rotation loop has not run for more than three minutes.',
  );
  readonly #inventoryInterval = this.#gauge(
    'nodecertd_inventory_interval_seconds',
    'Interval between two scans of the inventory; absent while the inventory is disabled.',
  );
  readonly #buildInfo = this.#gauge(
    'nodecertd_build_info',
    'Always 1; the labels carry the versions.',
    ['version', 'node_version'],
  );
  readonly #reloads = this.#counter(
    'nodecertd_config_reloads_total',
    'Configuration reloads, by result.',
    ['result'],
  );
  readonly #lastReloadSuccessful = this.#gauge(
    'nodecertd_config_last_reload_successful',
    '0 if the last configuration reload was refused, otherwise 1.',
  );
  readonly #lastReloadSuccess = this.#gauge(
    'nodecertd_config_last_reload_success_timestamp_seconds',
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

  /** The text exposition format. One synchronous pass reads the status, so all values belong to the same moment. */
  async render(): Promise<string> {
    const status = this.#options.status();
    for (const { name } of status.certificates) this.#introduce(name);
    this.#certificates.refresh(status);
    this.#hooks.refresh(status);
    this.#pki.refresh(status);
    this.#trust.refresh(status);
    this.#preflight.refresh(status);
    this.#process.refresh(status);
    const kubelet = this.#kubeletNames;
    kubelet?.refresh(status);
    const { lastTick, stuckAt } = this.#options.health();
    this.#lastTick.set(lastTick / second);
    this.#loopStuck.set(Number(stuckAt !== undefined));
    this.#lastReloadSuccess.set((this.#configReadAt ?? status.startedAt) / second);
    this.#buildInfo.set({ version: status.version, node_version: process.version }, 1);
    const inventory = this.#options.inventory?.();
    if (inventory === undefined) this.#inventoryInterval.remove();
    else this.#inventoryInterval.set(inventory.intervalSeconds);
    const own = (await this.#registry.metrics()) + ((await kubelet?.render()) ?? '');
    return own + (inventory?.text ?? '');
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

  /** Counts created CSRs; resuming the watch of an existing CSR does not count. */
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

  recordPkiRenewal(result: PkiResult): void {
    this.#pki.record(result);
  }

  recordTrustRefusal(reason: TrustRefusal): void {
    this.#trust.recordRefusal(reason);
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

  /** Kept while switched off, so that the counters continue when a reload switches the names on again. */
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
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #gauge<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram<Label extends string>(
    name: string,
    help: string,
    { labels, buckets }: { labels: Label[]; buckets: readonly number[] },
  ): Histogram<Label> {
    return new Histogram({
      name,
      help,
      labelNames: labels,
      buckets: [...buckets],
      registers: [this.#registry],
    });
  }
}

/** A clock that was set back must not make a sum shrink: Prometheus takes a smaller sum for a restart. */
function notNegative(seconds: number): number {
  return Math.max(seconds, 0);
}
