import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { scaled } from '../support/machine-speed.ts';
import { NodeWatch } from '../support/node-watch.ts';
import { until } from '../support/until.ts';
import { RolloverCluster } from './cluster.ts';
import { caFile } from './node.ts';
import { isAnswered, probeOnce } from './prober.ts';
import type { Scenario } from './scenario.ts';

const watchedMs = scaled(10_000);

/**
 * Open connections hide broken trust: the Node stays Ready while every new connection fails. So
 * nodecertd judges a rollover by new connections, never by the state of a Node.
 */
export const hiddenFaults: Scenario = {
  name: 'hidden-faults',
  isShort: false,
  async run(report) {
    await using cluster = await RolloverCluster.start({ authority: 'file' });
    const { rollover } = cluster;
    const { oldCa, newCa } = rollover;
    const node = cluster.node(0);
    await using watch = new NodeWatch(rollover.plane.admin, node.name);
    await until('a Node that is Ready', () => watch.ready);
    const [toServer, toKubelet] = [cluster.nodeClient(node), cluster.kubeletClient(node)];
    await until(
      'both directions to work',
      async () => (await isAnswered(toServer)) && isAnswered(toKubelet),
    );

    report('the API server serves a certificate of the new CA, which the node does not trust');
    await rollover.serve(newCa);
    assert.match((await probeOnce(toServer)) ?? '', /unable to verify|self.signed/);
    await delay(watchedMs);
    assert.deepEqual(watch.unready, []);
    await rollover.serve(oldCa);
    assert.equal(await probeOnce(toServer), undefined);

    report('the API server contacts kubelets with a certificate of the new CA');
    await rollover.contactKubeletsWith(newCa);
    assert.equal(await probeOnce(toKubelet), 'status 401');
    await delay(watchedMs);
    assert.deepEqual(watch.unready, []);

    report('the kubelet reads its clientCAFile again without a restart');
    const pid = await node.kubeletPid();
    await node.container.write(caFile, rollover.bundle);
    await until('an accepted API server', async () => isAnswered(toKubelet));
    assert.equal(await node.kubeletPid(), pid);
  },
};
