import { second } from '../core/instant.ts';
import type { AgentStatus, PkiStatus } from '../core/status.ts';
import { pkiStates } from '../core/status.ts';
import type { Registry } from './prom-client.ts';
import { Counter, Gauge } from './prom-client.ts';

export const pkiResults = ['succeeded', 'failed'] as const;
export type PkiResult = (typeof pkiResults)[number];

/** The unattended renewal of control-plane certificates. There are no series while it is disabled. */
export class PkiMetrics {
  readonly #renewals: Counter<'result'>;
  readonly #state: Gauge<'state'>;
  readonly #failed: Gauge;
  readonly #problems: Gauge;
  readonly #lastSuccess: Gauge;
  readonly #nextDue: Gauge;
  readonly #withoutLease: Gauge<'reason'>;
  #introduced = false;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#renewals = new Counter({
      name: 'nodecertd_pki_renewals_total',
      help: 'Unattended renewals of control-plane certificates that began, by result.',
      labelNames: ['result'],
      registers,
    });
    this.#state = new Gauge({
      name: 'nodecertd_pki_state',
      help: '1 for the outcome of the last check of the control-plane certificates, 0 for every other state.',
      labelNames: ['state'],
      registers,
    });
    this.#failed = new Gauge({
      name: 'nodecertd_pki_failed',
      help: '1 after a renewal was refused or failed, until one succeeds or nothing is due.',
      registers,
    });
    this.#problems = new Gauge({
      name: 'nodecertd_pki_problems',
      help: 'Control-plane certificates that are due and cannot be renewed, or are renewed and not served.',
      registers,
    });
    this.#lastSuccess = new Gauge({
      name: 'nodecertd_pki_last_success_timestamp_seconds',
      help: 'When the last unattended renewal succeeded, as a Unix time; absent if none has.',
      registers,
    });
    this.#nextDue = new Gauge({
      name: 'nodecertd_pki_next_due_timestamp_seconds',
      help: 'When the next control-plane certificate is due for renewal, as a Unix time.',
      registers,
    });
    this.#withoutLease = new Gauge({
      name: 'nodecertd_pki_last_renewal_without_lease_timestamp_seconds',
      help: 'When certificates were last renewed without the Lease, as a Unix time; absent if they were not in this run of the agent.',
      labelNames: ['reason'],
      registers,
    });
    this.refresh({});
  }

  record(result: PkiResult): void {
    this.#renewals.inc({ result });
  }

  refresh({ pki }: Pick<AgentStatus, 'pki'>): void {
    const gauges = [this.#state, this.#withoutLease];
    for (const gauge of gauges) gauge.reset();
    for (const gauge of [this.#failed, this.#problems, this.#lastSuccess, this.#nextDue]) {
      gauge.remove();
    }
    if (pki !== undefined) this.#set(pki);
  }

  #set({ state, failure, problems, lastSuccess, nextDue, lastWithoutLease }: PkiStatus): void {
    this.#introduce();
    for (const one of pkiStates) this.#state.set({ state: one }, Number(one === state));
    this.#failed.set(Number(failure !== undefined));
    this.#problems.set(problems.length);
    if (lastSuccess !== undefined) this.#lastSuccess.set(lastSuccess / second);
    if (nextDue !== undefined) this.#nextDue.set(nextDue.time / second);
    if (lastWithoutLease === undefined) return;
    const { reason, at } = lastWithoutLease;
    this.#withoutLease.set({ reason }, at / second);
  }

  /** Counters start at zero: `increase()` does not see the first sample of a new series. */
  #introduce(): void {
    if (this.#introduced) return;
    this.#introduced = true;
    for (const result of pkiResults) this.#renewals.inc({ result }, 0);
  }
}
