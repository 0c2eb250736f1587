import type { AgentStatus } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { agent, client, facts, followed, now, server } from './fixtures.ts';

/** An agent with a series for every metric there is, the kubelet's names included. */
export function everyMetric(): AgentMetrics {
  const status: AgentStatus = agent(
    [client(followed), server({ current: facts({ selfSigned: true }) })],
    { preflight: [] },
  );
  const metrics = new AgentMetrics({
    status: () => status,
    health: () => ({ lastTick: now, stuckAt: undefined }),
    kubeletNames: () => true,
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
  metrics.recordEnrollerStart();
  metrics.recordEnrollerEnd('lost');
  metrics.recordReload('accepted', Date.now());
}
