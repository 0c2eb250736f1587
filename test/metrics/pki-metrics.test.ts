import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import type { PkiStatus } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { scrape, series } from './exposition.ts';
import { agent, client, now, pki } from './fixtures.ts';

/** Metrics of an agent whose status the test changes. */
function metricsOf(first: PkiStatus | undefined) {
  let status = first;
  const metrics = new AgentMetrics({
    status: () => agent([client()], status === undefined ? {} : { pki: status }),
    health: () => ({ lastTick: now, stuckAt: undefined }),
    kubeletNames: () => false,
  });
  const show = (next: PkiStatus | undefined): void => {
    status = next;
  };
  const values = async (name: string) => series(await scrape(metrics), `nodecertd_pki_${name}`);
  return { metrics, show, values };
}

const failure = { code: 'INTERNAL', message: 'm', at: now } as const;

describe('PkiMetrics', () => {
  it('has no series while the renewal is disabled', async () => {
    const { metrics, show } = metricsOf(undefined);
    assert.doesNotMatch(await metrics.render(), /^nodecertd_pki/m);
    show(pki());
    assert.match(await metrics.render(), /^nodecertd_pki_failed 0$/m);
    show(undefined);
    assert.doesNotMatch(await metrics.render(), /^nodecertd_pki_(?!renewals)/m);
  });

  it('counts renewals from zero', async () => {
    const { metrics, values } = metricsOf(pki());
    const zero = { '{result="failed"}': 0, '{result="succeeded"}': 0 };
    assert.deepEqual(await values('renewals_total'), zero);
    metrics.recordPkiRenewal('failed');
    metrics.recordPkiRenewal('succeeded');
    metrics.recordPkiRenewal('succeeded');
    assert.deepEqual(await values('renewals_total'), {
      '{result="failed"}': 1,
      '{result="succeeded"}': 2,
    });
  });

  it('has 1 for the state and 0 for every other', async () => {
    const states = await metricsOf(pki({ state: 'waiting' })).values('state');
    assert.equal(Object.keys(states).length, 6);
    assert.deepEqual(
      Object.keys(states).filter((labels) => states[labels] === 1),
      ['{state="waiting"}'],
    );
  });

  it('shows a failure, and leaves out times that are not known', async () => {
    const { values, show } = metricsOf(pki({ failure, problems: [{ name: 'a', reason: 'r' }] }));
    assert.deepEqual(await values('failed'), { '': 1 });
    assert.deepEqual(await values('problems'), { '': 1 });
    show({ directory: '/etc/kubernetes', state: 'starting', since: now, problems: [] });
    assert.deepEqual(await values('failed'), { '': 0 });
    for (const name of ['last_success', 'next_due', 'last_renewal_without_lease']) {
      assert.deepEqual(await values(`${name}_timestamp_seconds`), {});
    }
  });

  it('shows a renewal without the Lease, with its reason', async () => {
    const lastWithoutLease = { reason: 'api-unreachable', at: now } as const;
    const { values } = metricsOf(pki({ lastWithoutLease }));
    assert.deepEqual(await values('last_renewal_without_lease_timestamp_seconds'), {
      '{reason="api-unreachable"}': now / second,
    });
  });

  it('has the hooks under the name of the directory', async () => {
    const hooks = [{ name: '/bin/notify', failure }];
    const { metrics } = metricsOf(pki({ hooks }));
    const failing = series(await scrape(metrics), 'nodecertd_hook_failing');
    assert.deepEqual(failing, { '{certificate="/etc/kubernetes",hook="/bin/notify"}': 1 });
  });
});
