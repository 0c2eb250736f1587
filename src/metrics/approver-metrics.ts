import type { ApproverStatus } from '../core/approver-status.ts';
import type { ApiRequestRecord } from '../core/enroller-protocol.ts';
import { second } from '../core/instant.ts';
import { decisionBuckets } from './buckets.ts';
import { Counter, Gauge, Histogram, Registry } from './prom-client.ts';

export interface ApproverMetricsOptions {
  /** Called at every scrape. */
  readonly status: () => ApproverStatus;
  readonly decisionCodes: readonly string[];
}

/** The metrics of `nodecertd approver`. Gauges are read from the status at each scrape. */
export class ApproverMetrics {
  readonly #registry = new Registry();
  readonly #options: ApproverMetricsOptions;

  readonly #decisions = this.#counter('decisions_total', 'Decisions, by outcome and reason.', [
    'outcome',
    'reason',
  ]);
  readonly #pending = this.#gauge('pending', 'Pending CSRs, by the reason why they wait.', [
    'reason',
  ]);
  readonly #oldest = this.#gauge(
    'oldest_pending_seconds',
    'Age of the oldest pending CSR; 0 if there is none.',
  );
  readonly #duration = new Histogram({
    name: 'nodecertd_approver_decision_seconds',
    help: 'Time from the arrival of a CSR until its decision is recorded.',
    buckets: [...decisionBuckets],
    registers: [this.#registry],
  });
  readonly #requests = this.#counter(
    'api_requests_total',
    'Finished requests to the API server, by verb and by HTTP status, or error code if there was no response.',
    ['verb', 'code'],
  );
  readonly #queueDepth = this.#gauge('queue_depth', 'CSRs that wait for a worker.');
  readonly #conflicts = this.#counter(
    'conflicts_total',
    'Decisions that the API server refused, usually because another program changed the CSR first.',
  );
  readonly #superseded = this.#counter(
    'superseded_total',
    'Denied CSRs of nodes that have a newer one.',
  );
  readonly #isLeader = this.#gauge('is_leader', '1 while this replica decides.');
  readonly #transitions = this.#counter(
    'leader_transitions_total',
    'Changes of the leader that this replica saw.',
  );
  readonly #synced = this.#gauge(
    'cache_synced',
    '1 while the copy of a resource is complete and its watch works.',
    ['resource'],
  );
  readonly #policy = this.#gauge(
    'policy_info',
    'Always 1; the label identifies the policy in use.',
    ['digest'],
  );
  readonly #policyLoaded = this.#gauge(
    'policy_last_reload_successful',
    '0 if the last policy was refused, so that an earlier one is in use.',
  );

  constructor(options: ApproverMetricsOptions) {
    this.#options = options;
    // increase() does not see the first sample of a new series.
    for (const reason of options.decisionCodes) {
      if (reason === 'ServingPolicyPassed') this.#decisions.inc({ outcome: 'approve', reason }, 0);
      else this.#decisions.inc({ outcome: 'deny', reason }, 0);
    }
    this.#policyLoaded.set(1);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async render(): Promise<string> {
    const status = this.#options.status();
    this.#pending.reset();
    for (const [reason, count] of status.pending) this.#pending.set({ reason }, count);
    const { now, oldestPending = now } = status;
    this.#oldest.set(Math.max(now - oldestPending, 0) / second);
    this.#queueDepth.set(status.queueDepth);
    this.#isLeader.set(Number(status.isLeader));
    this.#synced.reset();
    for (const [resource, synced] of Object.entries(status.synced)) {
      this.#synced.set({ resource }, Number(synced));
    }
    this.#policy.reset();
    this.#policy.set({ digest: status.policyDigest }, 1);
    return this.#registry.metrics();
  }

  /** @param ms since the CSR arrived; undefined for a CSR that is not decided */
  recordDecision({
    outcome,
    reason,
    ms,
  }: {
    readonly outcome: string;
    readonly reason: string;
    readonly ms?: number;
  }): void {
    this.#decisions.inc({ outcome, reason });
    if (ms !== undefined) this.#duration.observe(ms / second);
    if (outcome === 'deny' && reason === 'Superseded') this.#superseded.inc();
  }

  recordApiRequest({ verb, code }: ApiRequestRecord): void {
    this.#requests.inc({ verb, code });
  }

  recordConflict(): void {
    this.#conflicts.inc();
  }

  recordTransition(): void {
    this.#transitions.inc();
  }

  recordPolicy(result: 'accepted' | 'refused'): void {
    this.#policyLoaded.set(Number(result === 'accepted'));
  }

  #counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Counter<Label> {
    return new Counter({
      name: `nodecertd_approver_${name}`,
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
    return new Gauge({
      name: `nodecertd_approver_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
    });
  }
}
