import { countBySeverity } from '../core/findings.ts';
import type { AgentStatus } from '../core/status.ts';
import type { Registry } from './prom-client.ts';
import { Gauge } from './prom-client.ts';

/** Findings of the doctor checks at the start. No series until they are done: zero would mean that all is well. */
export class FindingsGauge {
  readonly #findings: Gauge<'severity'>;

  constructor(registry: Registry) {
    this.#findings = new Gauge({
      name: 'nodecertd_preflight_findings',
      help: 'Findings of the doctor checks at the start of the agent; nodecertd doctor repeats the checks.',
      labelNames: ['severity'],
      registers: [registry],
    });
  }

  refresh({ preflight }: Pick<AgentStatus, 'preflight'>): void {
    this.#findings.reset();
    if (preflight === undefined) return;
    const { error, warning, info } = countBySeverity(preflight);
    this.#findings.set({ severity: 'error' }, error);
    this.#findings.set({ severity: 'warning' }, warning);
    this.#findings.set({ severity: 'info' }, info);
  }
}
