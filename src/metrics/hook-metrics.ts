import { second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import type { Registry } from './prom-client.ts';
import { Counter, Gauge } from './prom-client.ts';

export const hookResults = ['succeeded', 'failed', 'timeout'] as const;

export interface HookRunRecord {
  readonly certificate: string;
  readonly hook: string;
  readonly result: (typeof hookResults)[number];
}

/**
 * What follows rotations. The gauges are filled anew at each scrape, as those of the
 * certificates are: a hook that is configured no longer has no series, and neither has
 * an endpoint before the first look at it.
 */
export class HookMetrics {
  readonly #runs: Counter<'certificate' | 'hook' | 'result'>;
  readonly #failing: Gauge<'certificate' | 'hook'>;
  readonly #lastSuccess: Gauge<'certificate' | 'hook'>;
  readonly #served: Gauge<'certificate' | 'endpoint'>;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#runs = new Counter({
      name: 'nodecertd_hook_runs_total',
      help: 'Tries of hooks by what came of them.',
      labelNames: ['certificate', 'hook', 'result'],
      registers,
    });
    this.#failing = new Gauge({
      name: 'nodecertd_hook_failing',
      help: '1 from the last failed try of a hook until it works again.',
      labelNames: ['certificate', 'hook'],
      registers,
    });
    this.#lastSuccess = new Gauge({
      name: 'nodecertd_hook_last_success_timestamp_seconds',
      help: 'When a hook last did what it should, as a Unix time; absent until it has in this run.',
      labelNames: ['certificate', 'hook'],
      registers,
    });
    this.#served = new Gauge({
      name: 'nodecertd_served_current',
      help: '1 if the endpoint showed the certificate on disk when it was last looked at.',
      labelNames: ['certificate', 'endpoint'],
      registers,
    });
  }

  record(run: HookRunRecord): void {
    this.#introduce(run);
    this.#runs.inc({ ...run });
  }

  refresh({ certificates }: Pick<AgentStatus, 'certificates'>): void {
    for (const gauge of [this.#failing, this.#lastSuccess, this.#served]) gauge.reset();
    for (const certificate of certificates) this.#set(certificate);
  }

  #set({ name: certificate, hooks = [], served }: CertificateStatus): void {
    for (const { name: hook, failure, succeededAt } of hooks) {
      this.#introduce({ certificate, hook });
      this.#failing.set({ certificate, hook }, Number(failure !== undefined));
      if (succeededAt !== undefined) {
        this.#lastSuccess.set({ certificate, hook }, succeededAt / second);
      }
    }
    for (const { endpoint, state } of served?.endpoints ?? []) {
      this.#served.set({ certificate, endpoint }, Number(state === 'current'));
    }
  }

  /** At zero from the start, so that the first failure is an increase. */
  #introduce({ certificate, hook }: Pick<HookRunRecord, 'certificate' | 'hook'>): void {
    for (const result of hookResults) this.#runs.inc({ certificate, hook, result }, 0);
  }
}
