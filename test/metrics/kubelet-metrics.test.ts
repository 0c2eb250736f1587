import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute, second } from '../../src/core/instant.ts';
import type { CertificateStatus } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { scrape, series } from './exposition.ts';
import { agent, client, facts, now, server } from './fixtures.ts';

/** Names, types and buckets of k8s.io/kubernetes v1.37.2, pkg/kubelet/metrics and pkg/kubelet/certificate/kubelet.go. */
const kubeletNames: Readonly<Record<string, string>> = {
  kubelet_certificate_manager_client_ttl_seconds: 'gauge',
  kubelet_certificate_manager_server_ttl_seconds: 'gauge',
  kubelet_certificate_manager_client_expiration_renew_errors: 'counter',
  kubelet_server_expiration_renew_errors: 'counter',
  kubelet_certificate_manager_server_rotation_seconds: 'histogram',
};

function metricsOf(certificates: readonly CertificateStatus[], names = true): AgentMetrics {
  const status = agent(certificates);
  const health = { lastTick: now, stuckAt: undefined };
  return new AgentMetrics({
    status: () => status,
    health: () => health,
    kubeletNames: () => names,
  });
}

describe('KubeletMetrics', () => {
  it('has the five names with their types, unlabeled and present from the start', async () => {
    const exposition = await scrape(metricsOf([]));
    const types = [...exposition.types].filter(([name]) => name.startsWith('kubelet_'));
    assert.deepEqual(Object.fromEntries(types), kubeletNames);
    const plain = [...exposition.samples].filter(([key]) => /^kubelet_\w+$/.test(key));
    assert.deepEqual(Object.fromEntries(plain), {
      kubelet_certificate_manager_client_ttl_seconds: Infinity,
      kubelet_certificate_manager_server_ttl_seconds: Infinity,
      kubelet_certificate_manager_client_expiration_renew_errors: 0,
      kubelet_server_expiration_renew_errors: 0,
      kubelet_certificate_manager_server_rotation_seconds_sum: 0,
      kubelet_certificate_manager_server_rotation_seconds_count: 0,
    });
  });

  it('is absent by default', async () => {
    const text = await metricsOf([client()], false).render();
    assert.doesNotMatch(text, /kubelet_certificate_manager|kubelet_server/);
  });

  const ttls: readonly (readonly [string, readonly CertificateStatus[], number])[] = [
    ['whole seconds', [client({ current: facts({ notAfter: now + minute + 999 }) })], 60],
    ['negative once expired', [client({ current: facts({ notAfter: now - 90_500 }) })], -90],
    ['+Inf without a certificate', [server({ signerName: client().signerName })], Infinity],
    [
      '+Inf with a temporary certificate',
      [client({ current: facts({ selfSigned: true }) })],
      Infinity,
    ],
    ['+Inf for other signers', [client({ signerName: 'example.com/serving' })], Infinity],
    [
      'the earliest of several',
      [client(), client({ name: 'second', current: facts({ notAfter: now + 5 * second }) })],
      5,
    ],
  ];
  for (const [title, certificates, expected] of ttls) {
    it(`client_ttl_seconds is ${title}`, async () => {
      const name = 'kubelet_certificate_manager_client_ttl_seconds';
      assert.deepEqual(series(await scrape(metricsOf(certificates)), name), { '': expected });
    });
  }

  it('server_ttl_seconds follows the serving certificate', async () => {
    const issued = server({ current: facts({ notAfter: now + 7 * second }) });
    const name = 'kubelet_certificate_manager_server_ttl_seconds';
    assert.deepEqual(series(await scrape(metricsOf([client(), issued])), name), { '': 7 });
  });

  it('renew errors count failures of the two kubelet certificates', async () => {
    const other = client({ name: 'node-exporter', signerName: 'example.com/serving' });
    const metrics = metricsOf([client(), server(), other]);
    metrics.recordFailure('kubelet-client', 'API_TIMEOUT');
    metrics.recordFailure('kubelet-server', 'CSR_DENIED');
    metrics.recordFailure('kubelet-server', 'CSR_DENIED');
    metrics.recordFailure('node-exporter', 'CSR_DENIED');
    const exposition = await scrape(metrics);
    const clientErrors = 'kubelet_certificate_manager_client_expiration_renew_errors';
    assert.deepEqual(series(exposition, clientErrors), { '': 1 });
    assert.deepEqual(series(exposition, 'kubelet_server_expiration_renew_errors'), { '': 2 });
  });

  it("server_rotation_seconds has the kubelet's buckets", async () => {
    const metrics = metricsOf([client(), server()]);
    metrics.recordStored({ name: 'kubelet-server', seconds: 1 });
    metrics.recordStored({ name: 'kubelet-client', ageOfReplaced: 50, seconds: 1 });
    metrics.recordStored({ name: 'kubelet-server', ageOfReplaced: 86_400, seconds: 1 });
    const name = 'kubelet_certificate_manager_server_rotation_seconds_bucket';
    assert.deepEqual(series(await scrape(metrics), name), {
      '{le="60"}': 0,
      '{le="3600"}': 0,
      '{le="14400"}': 0,
      '{le="86400"}': 1,
      '{le="604800"}': 1,
      '{le="2592000"}': 1,
      '{le="7776000"}': 1,
      '{le="15552000"}': 1,
      '{le="31104000"}': 1,
      '{le="124416000"}': 1,
      '{le="+Inf"}': 1,
    });
  });
});
