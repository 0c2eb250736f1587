import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { attemptCodes } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import type { AgentStatus } from '../../src/core/status.ts';
import { certificateStates } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { scrape, series } from './exposition.ts';
import { agent, client, facts, now, server } from './fixtures.ts';

function metricsOf(initial: AgentStatus): {
  metrics: AgentMetrics;
  set: (status: AgentStatus) => void;
} {
  let status = initial;
  const metrics = new AgentMetrics({
    status: () => status,
    health: () => ({ lastTick: now - 20 * second, stuckAt: undefined }),
    kubeletNames: () => false,
  });
  return {
    metrics,
    set: (next) => {
      status = next;
    },
  };
}

describe('AgentMetrics gauges', () => {
  const both = agent([client(), server()]);
  for (const stuckAt of [undefined, 'setting watches']) {
    it(`nodecertd_loop_stuck is ${Number(stuckAt !== undefined)} while ${stuckAt ?? 'nothing'} hangs`, async () => {
      const metrics = new AgentMetrics({
        status: () => both,
        health: () => ({ lastTick: now - minute, stuckAt }),
        kubeletNames: () => false,
      });
      const { samples } = await scrape(metrics);
      assert.equal(samples.get('nodecertd_loop_stuck'), Number(stuckAt !== undefined));
    });
  }

  const rows: readonly (readonly [string, Record<string, number>])[] = [
    [
      'nodecertd_certificate_not_before_timestamp_seconds',
      { '{certificate="kubelet-client"}': Date.UTC(2025, 11, 31, 12) / 1000 },
    ],
    [
      'nodecertd_certificate_not_after_timestamp_seconds',
      { '{certificate="kubelet-client"}': Date.UTC(2026, 1, 9, 12) / 1000 },
    ],
    [
      'nodecertd_certificate_rotation_deadline_timestamp_seconds',
      { '{certificate="kubelet-client"}': Date.UTC(2026, 0, 30, 12) / 1000 },
    ],
    ['nodecertd_certificate_expiration_seconds', { '{certificate="kubelet-client"}': 30 * 86_400 }],
    [
      'nodecertd_certificate_usable',
      { '{certificate="kubelet-client"}': 1, '{certificate="kubelet-server"}': 0 },
    ],
    [
      'nodecertd_certificate_rotation_overdue',
      { '{certificate="kubelet-client"}': 0, '{certificate="kubelet-server"}': 0 },
    ],
    [
      'nodecertd_certificate_consecutive_failures',
      { '{certificate="kubelet-client"}': 0, '{certificate="kubelet-server"}': 0 },
    ],
    [
      'nodecertd_certificate_info',
      {
        '{certificate="kubelet-client",serial="4f2a",signer="kubernetes.io/kube-apiserver-client-kubelet",path="/var/lib/kubelet/pki/kubelet-client-current.pem"}': 1,
        '{certificate="kubelet-server",serial="",signer="kubernetes.io/kubelet-serving",path="/var/lib/kubelet/pki/kubelet-server-current.pem"}': 1,
      },
    ],
    [
      'nodecertd_csr_pending_since_timestamp_seconds',
      { '{certificate="kubelet-server",csr="node-csr-abc"}': Date.UTC(2026, 0, 10, 10) / 1000 },
    ],
    [
      'nodecertd_loop_last_tick_timestamp_seconds',
      { '': Date.UTC(2026, 0, 10, 11, 59, 40) / 1000 },
    ],
    ['nodecertd_build_info', { [`{version="1.2.3",node_version="${process.version}"}`]: 1 }],
    ['nodecertd_clock_skew_seconds', {}],
    ['nodecertd_enroller_running', { '': 0 }],
    ['process_start_time_seconds', { '': Date.UTC(2026, 0, 10, 10, 30) / 1000 }],
  ];
  for (const [name, expected] of rows) {
    it(`render() shows ${name}`, async () => {
      const exposition = await scrape(metricsOf(both).metrics);
      assert.deepEqual(series(exposition, name), expected);
      assert.equal(exposition.types.get(name), 'gauge');
    });
  }

  it('render() shows 1 for the current state and 0 for the others', async () => {
    const found = series(await scrape(metricsOf(both).metrics), 'nodecertd_certificate_state');
    assert.equal(Object.keys(found).length, 2 * certificateStates.length);
    for (const state of certificateStates) {
      const of = (name: string): number | undefined =>
        found[`{certificate="${name}",state="${state}"}`];
      assert.equal(of('kubelet-client'), Number(state === 'valid'), state);
      assert.equal(of('kubelet-server'), Number(state === 'pending-approval'), state);
    }
  });

  it('render() shows negative expiration, overdue rotation, and failures', async () => {
    const expired = client({
      current: facts({ notAfter: now - 90 * second }),
      usable: false,
      overdue: true,
      attempts: 3,
    });
    const exposition = await scrape(metricsOf(agent([expired])).metrics);
    const value = (name: string): number | undefined =>
      series(exposition, name)['{certificate="kubelet-client"}'];
    assert.equal(value('nodecertd_certificate_expiration_seconds'), -90);
    assert.equal(value('nodecertd_certificate_rotation_overdue'), 1);
    assert.equal(value('nodecertd_certificate_consecutive_failures'), 3);
    assert.equal(value('nodecertd_certificate_usable'), 0);
  });

  it('render() drops the series of an old serial, CSR, or certificate', async () => {
    const { metrics, set } = metricsOf(both);
    await metrics.render();
    const { csr: _, ...decided } = server({ current: facts({ serial: '77' }) });
    set(agent([decided]));
    const exposition = await scrape(metrics);
    assert.deepEqual(series(exposition, 'nodecertd_csr_pending_since_timestamp_seconds'), {});
    assert.deepEqual(Object.keys(series(exposition, 'nodecertd_certificate_info')), [
      '{certificate="kubelet-server",serial="77",signer="kubernetes.io/kubelet-serving",path="/var/lib/kubelet/pki/kubelet-server-current.pem"}',
    ]);
    assert.deepEqual(series(exposition, 'nodecertd_certificate_not_after_timestamp_seconds'), {
      '{certificate="kubelet-server"}': Date.UTC(2026, 1, 9, 12) / 1000,
    });
  });

  it('render() escapes label values', async () => {
    const odd = client({ path: 'a"b\\c\nd' });
    const found = Object.keys(
      series(await scrape(metricsOf(agent([odd])).metrics), 'nodecertd_certificate_info'),
    );
    assert.match(found.join(), /path="a\\"b\\\\c\\nd"/);
  });

  it('setClockSkew() shows the skew in seconds from then on', async () => {
    const { metrics } = metricsOf(both);
    metrics.setClockSkew(-3000);
    assert.deepEqual(series(await scrape(metrics), 'nodecertd_clock_skew_seconds'), { '': -3 });
  });
});

describe('metric names', () => {
  it('are written in full in the code, so that a search for a name finds it', async () => {
    const folder = join(import.meta.dirname, '../../src/metrics');
    const files = (await readdir(folder)).map((file) => readFile(join(folder, file), 'utf8'));
    const code = (await Promise.all(files)).join('');
    const { types } = await scrape(metricsOf(agent([client(), server()])).metrics);
    assert.ok(types.size > 25);
    assert.deepEqual(
      [...types.keys()].filter((name) => !code.includes(`'${name}'`)),
      [],
    );
  });
});

describe('AgentMetrics counters', () => {
  it('render() has them at zero from the start', async () => {
    const exposition = await scrape(metricsOf(agent([client()])).metrics);
    const zero = { '{certificate="kubelet-client"}': 0 };
    assert.deepEqual(series(exposition, 'nodecertd_rotations_total'), zero);
    assert.deepEqual(series(exposition, 'nodecertd_csr_requests_total'), zero);
    assert.deepEqual(series(exposition, 'nodecertd_rotation_duration_seconds_count'), zero);
    assert.deepEqual(
      series(exposition, 'nodecertd_certificate_age_at_rotation_seconds_count'),
      zero,
    );
    assert.deepEqual(series(exposition, 'nodecertd_enroller_restarts_total'), {
      '{reason="lost"}': 0,
      '{reason="hung"}': 0,
    });
  });

  it('render() has every code that can end an attempt at zero', async () => {
    const exposition = await scrape(metricsOf(agent([client()])).metrics);
    const found = series(exposition, 'nodecertd_rotation_failures_total');
    assert.ok(Object.values(found).every((value) => value === 0));
    const codes = Object.keys(found).map((labels) => /code="(\w+)"/.exec(labels)?.[1]);
    assert.deepEqual(codes, [...attemptCodes]);
  });

  it('record…() count per certificate and code across scrapes', async () => {
    const { metrics } = metricsOf(agent([client(), server()]));
    metrics.recordRequested('kubelet-client');
    metrics.recordFailure('kubelet-client', 'CSR_DENIED');
    await metrics.render();
    metrics.recordFailure('kubelet-client', 'CSR_DENIED');
    metrics.recordStored({ name: 'kubelet-client', ageOfReplaced: 4000, seconds: 0.2 });
    metrics.recordStored({ name: 'kubelet-server', seconds: 7200 });
    const exposition = await scrape(metrics);
    const value = (name: string, labels: string): number | undefined =>
      series(exposition, name)[labels];
    assert.equal(value('nodecertd_csr_requests_total', '{certificate="kubelet-client"}'), 1);
    assert.equal(value('nodecertd_rotations_total', '{certificate="kubelet-client"}'), 1);
    assert.equal(
      value(
        'nodecertd_rotation_failures_total',
        '{certificate="kubelet-client",code="CSR_DENIED"}',
      ),
      2,
    );
    assert.equal(
      value(
        'nodecertd_rotation_failures_total',
        '{certificate="kubelet-server",code="CSR_DENIED"}',
      ),
      0,
    );
    const age = 'nodecertd_certificate_age_at_rotation_seconds';
    assert.equal(value(`${age}_bucket`, '{le="3600",certificate="kubelet-client"}'), 0);
    assert.equal(value(`${age}_bucket`, '{le="14400",certificate="kubelet-client"}'), 1);
    assert.equal(value(`${age}_sum`, '{certificate="kubelet-client"}'), 4000);
    assert.equal(
      value(`${age}_count`, '{certificate="kubelet-server"}'),
      0,
      'a first one replaces none',
    );
    const duration = 'nodecertd_rotation_duration_seconds';
    assert.equal(value(`${duration}_bucket`, '{le="0.1",certificate="kubelet-client"}'), 0);
    assert.equal(value(`${duration}_bucket`, '{le="0.25",certificate="kubelet-client"}'), 1);
    assert.equal(value(`${duration}_bucket`, '{le="14400",certificate="kubelet-server"}'), 1);
  });

  it('recordStored() never shrinks a sum after the clock was set back', async () => {
    const { metrics } = metricsOf(agent([client()]));
    metrics.recordStored({ name: 'kubelet-client', ageOfReplaced: -5, seconds: -5 });
    const sum = series(await scrape(metrics), 'nodecertd_rotation_duration_seconds_sum');
    assert.deepEqual(sum, { '{certificate="kubelet-client"}': 0 });
  });

  it('recordApiRequest() counts by verb and code and times by verb', async () => {
    const { metrics } = metricsOf(agent([client()]));
    metrics.recordApiRequest({ verb: 'create', code: '201', seconds: 0.02 });
    metrics.recordApiRequest({ verb: 'create', code: 'API_TIMEOUT', seconds: 10 });
    metrics.recordApiRequest({ verb: 'watch', code: '200', seconds: 240 });
    const exposition = await scrape(metrics);
    assert.deepEqual(series(exposition, 'nodecertd_api_requests_total'), {
      '{verb="create",code="201"}': 1,
      '{verb="create",code="API_TIMEOUT"}': 1,
      '{verb="watch",code="200"}': 1,
    });
    const buckets = series(exposition, 'nodecertd_api_request_duration_seconds_bucket');
    assert.equal(buckets['{le="0.025",verb="create"}'], 1);
    assert.equal(buckets['{le="10",verb="create"}'], 2);
    assert.equal(buckets['{le="60",verb="watch"}'], 0);
    assert.equal(buckets['{le="300",verb="watch"}'], 1);
  });

  it('recordEnrollerEnd() counts enrollers that did not finish', async () => {
    const { metrics } = metricsOf(agent([client()]));
    const running = async (): Promise<number | undefined> =>
      series(await scrape(metrics), 'nodecertd_enroller_running')[''];
    metrics.recordEnrollerStart();
    assert.equal(await running(), 1);
    metrics.recordEnrollerEnd('finished');
    assert.equal(await running(), 0);
    metrics.recordEnrollerEnd('hung');
    assert.deepEqual(series(await scrape(metrics), 'nodecertd_enroller_restarts_total'), {
      '{reason="lost"}': 0,
      '{reason="hung"}': 1,
    });
  });

  it('two instances share nothing', async () => {
    const [first, second] = [metricsOf(agent([client()])), metricsOf(agent([client()]))];
    first.metrics.recordRequested('kubelet-client');
    const count = series(await scrape(second.metrics), 'nodecertd_csr_requests_total');
    assert.deepEqual(count, { '{certificate="kubelet-client"}': 0 });
  });

  it('render() takes the time from the status only', async () => {
    const { metrics, set } = metricsOf(agent([client()]));
    await metrics.render();
    set(agent([client()], { now: now + minute }));
    assert.deepEqual(series(await scrape(metrics), 'nodecertd_certificate_expiration_seconds'), {
      '{certificate="kubelet-client"}': 30 * 86_400 - 60,
    });
  });
});
