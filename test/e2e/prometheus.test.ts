import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TestNode } from '../support/agent.ts';
import { scaled } from '../support/machine-speed.ts';
import { skipWithout } from '../support/programs.ts';
import type { Prometheus } from '../support/prometheus.ts';
import { withPrometheus } from '../support/prometheus.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

const rules = fileURLToPath(new URL('../../config/prometheus-rules.yaml', import.meta.url));

void describe(
  'a real Prometheus that scrapes the agent',
  { skip: skipWithout('prometheus') },
  () => {
    it('fires while a rotation is overdue, and stops after the rotation', async () => {
      await using controlPlane = await startSandboxControlPlane({ signingSeconds: scaled(20) });
      await using node = await TestNode.create(controlPlane, 'overdue');
      const agent = node.start();
      await agent.event('certificate_stored');
      await controlPlane.stopApi();
      const target = String((await agent.event('metrics_listening'))['address']);

      await withPrometheus({ target, rules }, async (prometheus) => {
        await prometheus.until('the overdue alert', () => overdue(prometheus));
        assert.equal((await agent.event('rotation_overdue')).certificate, 'kubelet-client');
        await controlPlane.startApi();
        await agent.event('certificate_stored', 'kubelet-client', 2);
        await prometheus.until('the all-clear', async () =>
          (await overdue(prometheus)) === undefined ? true : undefined,
        );
      });
      assert.equal(agent.all('rotation_overdue_over').length, 1);
    });
  },
);

/** The labels of the alert if it fires. */
async function overdue(
  prometheus: Prometheus,
): Promise<Readonly<Record<string, string>> | undefined> {
  const alerts = await prometheus.firing();
  return alerts.find(({ labels }) => labels['alertname'] === 'NodecertdRotationOverdue')?.labels;
}
