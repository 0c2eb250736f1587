import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from '../../src/metrics/prom-client.ts';
import { FindingsGauge } from '../../src/metrics/findings-gauge.ts';

describe('FindingsGauge', () => {
  it('has no series before the checks, then one for each severity', async () => {
    const registry = new Registry();
    const gauge = new FindingsGauge(registry);
    const series = async (): Promise<string[]> =>
      (await registry.metrics()).split('\n').filter((line) => line.startsWith('nodecertd'));
    gauge.refresh({});
    assert.deepEqual(await series(), []);
    const finding = { id: 'second-rotator', severity: 'warning', what: 'w' } as const;
    gauge.refresh({ preflight: [finding, finding, { ...finding, severity: 'error' }] });
    assert.deepEqual(await series(), [
      'nodecertd_preflight_findings{severity="error"} 1',
      'nodecertd_preflight_findings{severity="warning"} 2',
      'nodecertd_preflight_findings{severity="info"} 0',
    ]);
  });
});
