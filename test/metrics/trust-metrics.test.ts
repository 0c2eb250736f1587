import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import type { TrustStatus } from '../../src/core/status.ts';
import type { TrustReport } from '../../src/core/trust-report.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { clientLeaf, newCa, oldCa, trustReport } from '../keeper/trust-documents.ts';
import { scrape, series } from './exposition.ts';
import { agent, client, now } from './fixtures.ts';

function trust(report: Partial<TrustReport> = {}, changes: Partial<TrustStatus> = {}): TrustStatus {
  return { state: 'in-sync', since: now, report: trustReport(report), reissues: [], ...changes };
}

/** Metrics of an agent whose status the test changes. */
function metricsOf(first: TrustStatus | undefined) {
  let status = first;
  const metrics = new AgentMetrics({
    status: () => agent([client()], status === undefined ? {} : { trustSync: status }),
    health: () => ({ lastTick: now, stuckAt: undefined }),
    kubeletNames: () => false,
  });
  const show = (next: TrustStatus | undefined): void => {
    status = next;
  };
  const values = async (name: string) => series(await scrape(metrics), `nodecertd_${name}`);
  return { metrics, show, values };
}

describe('TrustMetrics', () => {
  it('has no series while trust is disabled, and only the counter before the first check', async () => {
    const { metrics, show } = metricsOf(undefined);
    const names = /^nodecertd_(?:trust|certificate_issuer)_(?!refused)/m;
    assert.doesNotMatch(await metrics.render(), /^nodecertd_(?:trust|certificate_issuer)/m);
    show({ state: 'starting', since: now, reissues: [] });
    assert.doesNotMatch(await metrics.render(), names);
    show(trust());
    assert.match(await metrics.render(), names);
    show(undefined);
    assert.doesNotMatch(await metrics.render(), names);
  });

  it('has the held and the wanted CAs, in the same order on each node', async () => {
    const authorities = [newCa, { ...oldCa, isWanted: false }];
    const { values } = metricsOf(trust({ authorities }));
    const both = '0101010101010101,0202020202020202';
    assert.deepEqual(await values('trust_bundle_info'), { [`{cas="${both}"}`]: 1 });
    assert.deepEqual(await values('trust_wanted_info'), { '{cas="0202020202020202"}': 1 });
    assert.deepEqual(await values('trust_cas'), { '': 2 });
    assert.deepEqual(await values('trust_ca_not_after_timestamp_seconds'), {
      '{ca="0202020202020202",subject="CN=kubernetes-2026-01"}': newCa.notAfter / second,
      '{ca="0101010101010101",subject="CN=kubernetes"}': oldCa.notAfter / second,
    });
  });

  it('has the stage, the kubelet, the last change, and whether all is in sync', async () => {
    const changedAt = now - 60 * second;
    const report = { stage: 'adding', reader: { state: 'pending' }, changedAt } as const;
    const { values, show } = metricsOf(trust(report));
    const stages = await values('trust_stage');
    assert.equal(Object.keys(stages).length, 6);
    assert.deepEqual(
      Object.keys(stages).filter((labels) => stages[labels] === 1),
      ['{stage="adding"}'],
    );
    assert.deepEqual(await values('trust_reader_pending'), { '': 1 });
    assert.deepEqual(await values('trust_last_change_timestamp_seconds'), {
      '': changedAt / second,
    });
    assert.deepEqual(await values('trust_in_sync'), { '': 1 });
    show(trust({}, { state: 'failed' }));
    assert.deepEqual(await values('trust_in_sync'), { '': 0 });
    assert.deepEqual(await values('trust_reader_pending'), { '': 0 });
    assert.deepEqual(await values('trust_last_change_timestamp_seconds'), {});
  });

  it('has the issuer of each certificate, and whether it is behind', async () => {
    const unknown = { name: 'kubelet-server', path: '/s', isBehind: false };
    const { values } = metricsOf(trust({ leaves: [{ ...clientLeaf, isBehind: true }, unknown] }));
    assert.deepEqual(await values('certificate_issuer_info'), {
      '{certificate="kubelet-client",ca="0101010101010101"}': 1,
      '{certificate="kubelet-server",ca=""}': 1,
    });
    assert.deepEqual(await values('certificate_issuer_behind'), {
      '{certificate="kubelet-client"}': 1,
      '{certificate="kubelet-server"}': 0,
    });
  });

  it('counts refusals from zero', async () => {
    const { metrics, values } = metricsOf(trust());
    const counts = await values('trust_refused_total');
    assert.equal(Object.keys(counts).length, 12);
    assert.ok(Object.values(counts).every((count) => count === 0));
    metrics.recordTrustRefusal('not-pinned');
    assert.equal((await values('trust_refused_total'))['{reason="not-pinned"}'], 1);
  });

  it('has the hooks under the key of the configuration', async () => {
    const failure = { code: 'HOOK_FAILED', message: 'm', at: now } as const;
    const { values } = metricsOf(trust({}, { hooks: [{ name: '/bin/notify', failure }] }));
    assert.deepEqual(await values('hook_failing'), {
      '{certificate="onTrustChange",hook="/bin/notify"}': 1,
    });
  });
});
