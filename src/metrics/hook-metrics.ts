import { second } from '../core/instant.ts';
import { trustHookTarget } from '../core/hooks.ts';
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
 * Hooks and served certificates. Every scrape resets and fills the gauges: a hook that
 * was removed from the configuration has no series, and an endpoint has none before its
 * first check.
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
      help: 'Hook runs, by result.',
      labelNames: ['certificate', 'hook', 'result'],
      registers,
    });
    this.#failing = new Gauge({
      name: 'nodecertd_hook_failing',
      help: '1 after the last run of the hook failed, until a run succeeds.',
      labelNames: ['certificate', 'hook'],
      registers,
    });
    this.#lastSuccess = new Gauge({
      name: 'nodecertd_hook_last_success_timestamp_seconds',
      help: 'When the hook last succeeded, as a Unix time; absent until it succeeds in this run of the agent.',
      labelNames: ['certificate', 'hook'],
      registers,
    });
    this.#served = new Gauge({
      name: 'nodecertd_served_current',
      help: '1 if the endpoint served the certificate on disk at its last check.',
      labelNames: ['certificate', 'endpoint'],
      registers,
    });
  }

  record(run: HookRunRecord): void {
    this.#introduce(run);
    this.#runs.inc({ ...run });
  }

  refresh({
    certificates,
    pki,
    trustSync,
  }: Pick<AgentStatus, 'certificates' | 'pki' | 'trustSync'>): void {
    for (const gauge of [this.#failing, this.#lastSuccess, this.#served]) gauge.reset();
    for (const certificate of certificates) this.#set(certificate);
    if (pki !== undefined) this.#set({ ...pki, name: pki.directory });
    if (trustSync !== undefined) this.#set({ ...trustSync, name: trustHookTarget });
  }

  #set({
    name: certificate,
    hooks = [],
    served,
  }: Pick<CertificateStatus, 'name' | 'hooks' | 'served'>): void {
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

  /** Counters start at zero: `increase()` does not see the first sample of a new series. */
  #introduce({ certificate, hook }: Pick<HookRunRecord, 'certificate' | 'hook'>): void {
    for (const result of hookResults) this.#runs.inc({ certificate, hook, result }, 0);
  }
}
