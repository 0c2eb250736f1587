import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planAdoption } from '../../src/adopt/adoption-plan.ts';
import type { KubeletFlags } from '../../src/kubelet/flags.ts';
import { present } from '../store/pairs.ts';
import {
  configFile,
  following,
  handedOver,
  kubeadmNode,
  kubeconfigFile,
  live,
} from './kubeadm-node.ts';
import { planned } from './plan-text.ts';

const configured = { [configFile]: handedOver, [kubeconfigFile]: following };

describe('planRestart()', () => {
  const pending = ['step kubeconfig', 'step kubelet-config'];
  const after = ['note kubeadm-upgrade', 'note self-signed', 'restart'];

  it('planRestart() wants one restart for whatever changes, by its service', async (context) => {
    const { facts } = await kubeadmNode(context, { [configFile]: handedOver });
    const plan = planAdoption(live(await facts()));
    assert.deepEqual(
      plan.steps.map(({ id }) => id),
      ['kubeconfig'],
    );
    assert.equal(plan.restart?.command, 'systemctl restart kubelet');
    assert.equal(plan.restart.unit, 'kubelet.service');
  });

  it('planRestart() wants none of a kubelet that does not run', async (context) => {
    const { facts } = await kubeadmNode(context);
    const found = await facts();
    const idle = { ...found, live: true, agentPid: 9 };
    assert.deepEqual(planned(idle), [
      ...pending,
      ...after.slice(0, -1),
      'note kubelet-not-running',
    ]);
  });

  it('planRestart() still wants the restart of a kubelet that was started before the changes', async (context) => {
    const { facts } = await kubeadmNode(context, configured);
    const found = live(await facts());
    const finishedAt = new Date(present - 1).toISOString();
    const run = { folder: '/', manifest: { ...manifest, finishedAt } };
    const runs = { standing: [run], done: [], next: 2 };
    assert.deepEqual(planned({ ...found, runs }), ['restart']);
    const running = { pid: 7, startedAt: present, flags: found.kubelet.flags };
    const fresh = { ...found, runs, kubelet: { ...found.kubelet, running } };
    assert.deepEqual(planned(fresh), []);
  });

  it('planRestart() still wants the restart of a kubelet that runs with a flag that is gone', async (context) => {
    const { facts } = await kubeadmNode(context, configured);
    const found = await facts();
    const origin = { kind: 'process', pid: 7 } as const;
    const flag = {
      name: 'rotate-certificates',
      value: 'true',
      words: [{ text: '', origin }],
    } as const;
    const flags: KubeletFlags = [...found.kubelet.flags, flag];
    const running = { pid: 7, startedAt: present, flags };
    const outdated = live(found, { kubelet: { ...found.kubelet, running } });
    assert.deepEqual(planned(outdated), ['restart']);
  });
});

const manifest = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AdoptionManifest',
  version: '0.1.0',
  sequence: 1,
  state: 'applied',
  startedAt: '2026-06-01T00:00:00.000Z',
  changes: [],
} as const;
