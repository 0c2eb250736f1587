import { countBySeverity } from '../core/findings.ts';
import type { AgentStatus } from '../core/status.ts';
import type { Registry } from './prom-client.ts';
import { Gauge } from './prom-client.ts';

/** What the examination at the start found; without a series until it is over, since no finding would be good news. */
export class PreflightGauge {
  readonly #findings: Gauge<'severity'>;

  constructor(registry: Registry) {
    this.#findings = new Gauge({
      name: 'nodecertd_preflight_findings',
      help: 'Findings of the examination of the node when the agent started; nodecertd doctor shows them anew.',
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
