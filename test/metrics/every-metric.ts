import type { AgentStatus, TrustStatus } from '../../src/core/status.ts';
import { day } from '../../src/core/instant.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { inventoryExposition } from '../../src/metrics/inventory-exposition.ts';
import { trustReport } from '../keeper/trust-documents.ts';
import { agent, client, facts, followed, now, pki, server } from './fixtures.ts';

const certificate = { serial: '1f', subject: 'CN=kube-apiserver', issuer: 'CN=kubernetes' };

/** The last inventory of an agent that scans every ten minutes. */
export const inventory = {
  intervalSeconds: 600,
  text: [
    ...inventoryExposition(
      [
        {
          name: 'apiserver',
          kind: 'certificate',
          place: '/etc/kubernetes/pki/apiserver.crt',
          entry: '',
          state: 'ok',
          certificate: { ...certificate, notBefore: now - day, notAfter: now + 364 * day },
        },
        {
          name: 'apiserver-etcd-client',
          kind: 'certificate',
          place: '/etc/kubernetes/pki/apiserver-etcd-client.crt',
          entry: '',
          state: 'missing',
        },
      ],
      now,
    ),
  ].join(''),
};

export const everyPki = pki({ lastWithoutLease: { reason: 'api-unreachable', at: now } });

export const everyTrust: TrustStatus = {
  state: 'in-sync',
  since: now - day,
  report: trustReport({ changedAt: now - day }),
  reissues: [],
};

/** An agent with a series for every metric there is, the kubelet's names included. */
export function everyMetric(): AgentMetrics {
  const status: AgentStatus = agent(
    [client(followed), server({ current: facts({ selfSigned: true }) })],
    { preflight: [], pki: everyPki, trustSync: everyTrust },
  );
  const metrics = new AgentMetrics({
    status: () => status,
    health: () => ({ lastTick: now, stuckAt: undefined }),
    kubeletNames: () => true,
    inventory: () => inventory,
  });
  countEverything(metrics);
  return metrics;
}

/** One of everything that an agent counts. */
export function countEverything(metrics: AgentMetrics): void {
  const certificate = 'kubelet-client';
  metrics.setClockSkew(1000);
  metrics.recordRequested(certificate);
  metrics.recordStored({ name: certificate, ageOfReplaced: 600, seconds: 0.3 });
  metrics.recordFailure(certificate, 'API_TIMEOUT');
  metrics.recordHookRun({ certificate, hook: '/usr/local/bin/deploy', result: 'succeeded' });
  metrics.recordApiRequest({ verb: 'create', code: '201', seconds: 0.1 });
  metrics.recordPkiRenewal('succeeded');
  metrics.recordTrustRefusal('not-pinned');
  metrics.recordEnrollerStart();
  metrics.recordEnrollerEnd('lost');
  metrics.recordReload('accepted', Date.now());
}
