import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import type { CertificateStatus } from '../../src/core/status.ts';
import { scrape, series } from './exposition.ts';
import { agent, client, followed, now, server } from './fixtures.ts';

function metricsOf(certificates: readonly CertificateStatus[]): {
  readonly metrics: AgentMetrics;
  readonly show: (certificates: readonly CertificateStatus[]) => void;
} {
  let shown = certificates;
  const metrics = new AgentMetrics({
    status: () => agent(shown),
    health: () => ({ lastTick: now, stuckAt: undefined }),
    kubeletNames: () => false,
  });
  const show = (next: readonly CertificateStatus[]): void => {
    shown = next;
  };
  return { metrics, show };
}

const deploy = 'certificate="kubelet-client",hook="/usr/local/bin/deploy"';
const reload = 'certificate="kubelet-client",hook="reload nginx.service"';

describe('HookMetrics', () => {
  it('has every result of every hook at zero, and counts runs', async () => {
    const { metrics } = metricsOf([client(followed), server()]);
    const runs = series(await scrape(metrics), 'nodecertd_hook_runs_total');
    assert.equal(Object.keys(runs).length, 6);
    assert.ok(Object.values(runs).every((count) => count === 0));
    const run = { certificate: 'kubelet-client', hook: 'reload nginx.service' };
    metrics.recordHookRun({ ...run, result: 'failed' });
    metrics.recordHookRun({ ...run, result: 'failed' });
    metrics.recordHookRun({ ...run, result: 'timeout' });
    const counted = series(await scrape(metrics), 'nodecertd_hook_runs_total');
    assert.equal(counted[`{${reload},result="failed"}`], 2);
    assert.equal(counted[`{${reload},result="timeout"}`], 1);
    assert.equal(counted[`{${reload},result="succeeded"}`], 0);
  });

  it('shows which hook fails, and when each last succeeded', async () => {
    const { metrics } = metricsOf([client(followed)]);
    const exposition = await scrape(metrics);
    assert.deepEqual(series(exposition, 'nodecertd_hook_failing'), {
      [`{${deploy}}`]: 0,
      [`{${reload}}`]: 1,
    });
    const successes = series(exposition, 'nodecertd_hook_last_success_timestamp_seconds');
    assert.equal(successes[`{${deploy}}`], (now - 3_600 * second) / second);
  });

  it('shows whether each endpoint serves the certificate on disk', async () => {
    const { metrics } = metricsOf([client(followed)]);
    assert.deepEqual(series(await scrape(metrics), 'nodecertd_served_current'), {
      '{certificate="kubelet-client",endpoint="127.0.0.1:10250"}': 1,
      '{certificate="kubelet-client",endpoint="[::1]:10250"}': 0,
    });
  });

  it('has no series for unknown or removed hooks and endpoints', async () => {
    const { metrics, show } = metricsOf([client({ hooks: [{ name: 'SIGHUP a.service' }] })]);
    const first = await scrape(metrics);
    assert.deepEqual(series(first, 'nodecertd_hook_last_success_timestamp_seconds'), {});
    assert.deepEqual(series(first, 'nodecertd_served_current'), {});
    show([client()]);
    assert.deepEqual(series(await scrape(metrics), 'nodecertd_hook_failing'), {});
  });
});
