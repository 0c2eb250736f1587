import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { day, hour, minute } from '../../src/core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import type { Health } from '../../src/metrics/health.ts';
import { startMetricsServer } from '../../src/metrics/server.ts';
import type { Alert, Prometheus } from '../support/prometheus.ts';
import { withPrometheus, withoutDelays } from '../support/prometheus.ts';
import { skipWithout } from '../support/programs.ts';
import { agent, client, facts, server } from './fixtures.ts';

const rules = fileURLToPath(new URL('../../config/prometheus-rules.yaml', import.meta.url));

/** The status of a live agent with times around the present, because Prometheus uses the real clock. */
function live(certificates: readonly CertificateStatus[]): AgentStatus {
  return agent(certificates, { now: Date.now(), startedAt: Date.now() - hour });
}

const healthy = client({
  current: facts({ notBefore: Date.now() - 10 * day, notAfter: Date.now() + 30 * day }),
  rotationDeadline: Date.now() + 20 * day,
});
const overdue = client({
  ...healthy,
  current: facts({ notBefore: Date.now() - 75 * day, notAfter: Date.now() + 25 * day }),
  rotationDeadline: Date.now() - 2 * hour,
  overdue: true,
});
const stuck = server({
  csr: { name: 'node-csr-abc', uid: 'b0b1', createdAt: Date.now() - 2 * hour },
});

async function alertNamed(prometheus: Prometheus, name: string): Promise<Alert> {
  return await prometheus.until(name, async () =>
    (await prometheus.firing()).find(({ labels }) => labels['alertname'] === name),
  );
}

const health = (): Health => ({ lastTick: Date.now() - minute, stuckAt: undefined });

describe('a real Prometheus', { skip: skipWithout('prometheus') }, () => {
  it('fires on an overdue rotation and a stuck CSR, and resolves after', async () => {
    let certificates = [overdue, stuck];
    const status = (): AgentStatus => live(certificates);
    const metrics = new AgentMetrics({ status, health, kubeletNames: () => true });
    const config = { host: '127.0.0.1', port: 0, kubeletNames: true };
    await using running = await startMetricsServer({ metrics, status, health, config });
    const target = running.listening;

    await withPrometheus({ target, rules }, async (prometheus) => {
      const { labels, annotations } = await alertNamed(prometheus, 'NodecertdRotationOverdue');
      assert.deepEqual(labels, {
        alertname: 'NodecertdRotationOverdue',
        certificate: 'kubelet-client',
        instance: target,
        job: 'nodecertd',
        severity: 'warning',
      });
      assert.equal(annotations['remedy'], 'nodecertd status');
      const waiting = await alertNamed(prometheus, 'NodecertdCsrStuck');
      assert.match(waiting.annotations['remedy'] ?? '', /certificate approve node-csr-abc$/);

      certificates = [healthy];
      await prometheus.until('the all-clear', async () =>
        (await prometheus.firing()).length === 0 ? true : undefined,
      );
      const serials = await prometheus.query('nodecertd_certificate_usable');
      assert.deepEqual(
        serials.map(({ metric, value }) => [metric['certificate'], value]),
        [['kubelet-client', 1]],
        'the series of what is gone have vanished',
      );
    });
  });
});

describe('withoutDelays()', () => {
  it('sets every `for` to zero and keeps the rest', () => {
    const before =
      '- alert: A\n  expr: x > 3600\n  for: 15m\n  annotations: { a: "wait for: it" }\n';
    assert.equal(withoutDelays(before), before.replace('for: 15m', 'for: 0s'));
  });
});
