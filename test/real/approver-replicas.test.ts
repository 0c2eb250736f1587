import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hour } from '../../src/core/instant.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { ApproverPlane } from '../support/approver-plane.ts';
import { ApproverProcess } from '../support/approver-process.ts';
import { scaled } from '../support/machine-speed.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

describe('replicas of nodecertd approver', { skip: skipWithoutRealControlPlane() }, () => {
  let cluster: ApproverPlane;
  before(async () => {
    cluster = await ApproverPlane.start();
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  function start(): ApproverProcess {
    const { kubeconfig, namespace } = cluster;
    return new ApproverProcess(['--kubeconfig', kubeconfig, '--lease-namespace', namespace]);
  }

  /** A leader, and a standby that knows it. */
  async function startTwo(): Promise<{
    readonly leader: ApproverProcess;
    readonly standby: ApproverProcess;
  }> {
    const leader = start();
    await cluster.until('a leader', () => leader.leads);
    const standby = start();
    await cluster.until('a standby', () => standby.logged('approver_standby').length > 0);
    return { leader, standby };
  }

  async function createCsrs(prefix: string, count: number): Promise<string[]> {
    const nodes = Array.from({ length: count }, (_, at) => `${prefix}-${at}`);
    await Promise.all(
      nodes.map((node) => cluster.setNode(node, [{ type: 'Hostname', address: node }])),
    );
    return Promise.all(
      nodes.map((node) => cluster.createCsr({ node, dns: [node], name: `csr-${node}` })),
    );
  }

  /** The requests of all replicas that record decisions about these CSRs. */
  async function writes(names: readonly string[]): Promise<number[]> {
    return (await cluster.requests())
      .filter(({ resource, name = '' }) => resource.endsWith('/approval') && names.includes(name))
      .map(({ code }) => code);
  }

  it('elect one leader when they start at once, which decides each CSR once', async () => {
    const names = await createCsrs('start', 1_000);
    await using first = start();
    await using other = start();
    await cluster.until('1000 decisions', () => {
      return first.logged('csr_decided').length + other.logged('csr_decided').length === 1_000;
    });
    assert.equal(Number(first.leads) + Number(other.leads), 1);
    assert.deepEqual(
      (await writes(names)).filter((code) => code !== 200),
      [],
    );
    assert.equal((await writes(names)).length, 1_000);
  });

  it('let the standby lead within seconds of SIGTERM', async () => {
    const { leader, standby } = await startTwo();
    await using one = leader;
    await using other = standby;
    const stopped = Date.now();
    one.signal('SIGTERM');
    assert.equal(await one.ended(), 0);
    assert.ok(Date.now() - stopped < scaled(1_000), `${Date.now() - stopped} ms`);
    await cluster.until('another leader', () => other.leads);
    assert.ok(Date.now() - stopped < scaled(5_000), `${Date.now() - stopped} ms`);
    const [name = ''] = await createCsrs('term', 1);
    assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    other.signal('SIGTERM');
    await other.ended();
  });

  it('let the standby lead 15 to 24 seconds after kill -9', async () => {
    const { leader, standby } = await startTwo();
    await using one = leader;
    await using other = standby;
    one.signal('SIGKILL');
    const killed = Date.now();
    const [name = ''] = await createCsrs('kill', 1);
    assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    const waited = Date.now() - killed;
    assert.ok(waited > 12_000 && waited < 24_000 + scaled(1_000), `${waited} ms`);
    other.signal('SIGTERM');
    await other.ended();
  });

  it('write nothing after SIGSTOP for 20 s until they lead again', async () => {
    const { leader, standby } = await startTwo();
    await using one = leader;
    await using other = standby;
    one.signal('SIGSTOP');
    await cluster.until('another leader', () => other.leads);
    await delay(1_000);
    other.signal('SIGSTOP');
    const names = await createCsrs('stop', 20);
    // Wakes up as the leader that it was, with 20 CSRs on its watch and an expired Lease.
    one.signal('SIGCONT');
    await delay(3_000);
    assert.deepEqual(await writes(names), []);
    assert.ok(!one.leads || one.logged('csr_decided').length === 0);
    other.signal('SIGCONT');
    await cluster.until('20 decisions', () => other.logged('csr_decided').length === 20);
    assert.equal((await writes(names)).length, 20);
    other.signal('SIGTERM');
    await other.ended();
  });

  it('elect one leader with a clock that is an hour off', async () => {
    for (const offset of [hour, -hour]) {
      const clock = { ...systemClock, now: () => Date.now() + offset };
      await using one = cluster.startApprover({ clock });
      await cluster.until('a leader', () => one.logged('approver_leading').length === 1);
      await using other = cluster.startApprover();
      await delay(5_000);
      assert.equal(other.logged('approver_leading').length, 0);
      const [name = ''] = await createCsrs(`clock${offset < 0 ? '-slow' : '-fast'}`, 1);
      assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    }
  });

  it('stop deciding while the API server is down, and decide everything afterwards', async () => {
    await using approver = cluster.startApprover();
    await cluster.until('a leader', () => approver.logged('approver_leading').length === 1);
    await cluster.plane.stopApi();
    await delay(60_000);
    const after = (await approver.page('/metrics')).text;
    assert.match(after, /is_leader 0\n/);
    const sent = countOf(after);
    assert.ok(sent > 0 && sent <= 60, `${sent} requests in 60 s`);
    await cluster.plane.startApi();
    const names = await createCsrs('outage', 20);
    for (const name of names) {
      assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    }
    assert.equal((await approver.page('/readyz')).text, 'leader\n');
  });
});

/** The requests without a response in an exposition. */
function countOf(exposition: string): number {
  const counts = exposition.matchAll(
    /^nodecertd_approver_api_requests_total\{.*code="API_UNREACHABLE"\} (\d+)$/gm,
  );
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}
