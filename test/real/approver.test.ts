import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { requestPem } from '../approver/requests.ts';
import { ApproverPlane } from '../support/approver-plane.ts';
import { startApproverProxy } from '../support/approver-proxy.ts';
import { relay } from '../support/fault-proxy.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { csrPath, newCsr, withCondition } from '../support/real-csr.ts';
import type { CsrObject } from '../support/real-csr.ts';

const passed = 'Approved ServingPolicyPassed';

function addressesOf(node: string, ...ips: readonly string[]): NodeAddress[] {
  return [
    { type: 'Hostname', address: node },
    ...ips.map((address) => ({ type: 'InternalIP', address })),
  ];
}

describe('nodecertd approver', { skip: skipWithoutRealControlPlane() }, () => {
  let cluster: ApproverPlane;
  before(async () => {
    cluster = await ApproverPlane.start();
    await cluster.setNode('n1', addressesOf('n1', '10.100.0.2', 'fd00::2'));
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  it('approves a CSR for the addresses of its node, and the signer issues', async () => {
    await using approver = cluster.startApprover();
    const name = await cluster.createCsr({ node: 'n1', dns: ['n1'], ips: ['10.100.0.2'] });
    assert.equal(await cluster.decided(name), passed);
    await cluster.until('a certificate', async () => {
      return (await cluster.csr(name)).status.certificate;
    });
    const { metadata } = await cluster.csr(name);
    const basis = JSON.parse(metadata.annotations?.['nodecertd.io/approver'] ?? '') as object;
    assert.deepEqual(Object.keys(basis), ['policyDigest', 'sources']);
    assert.equal((await approver.page('/readyz')).text, 'leader\n');
    await cluster.until('an Event', async () => (await cluster.events(name)).includes('Approved'));
  });

  it('holds a CSR without a Node, and approves it within a second of the addresses', async () => {
    await using approver = cluster.startApprover();
    const name = await cluster.createCsr({ node: 'n4', dns: ['n4'] });
    await cluster.until('a hold', () => approver.holds(name).includes('NodeNotFound'));
    assert.deepEqual(await cluster.writesTo(name), []);
    assert.equal((await cluster.explain(name)).decision, 'hold NodeNotFound');
    await cluster.plane.admin.must({
      method: 'POST',
      path: '/api/v1/nodes',
      body: { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n4' } },
    });
    await cluster.until('a hold', () => approver.holds(name).includes('AddressesEmpty'));
    assert.equal((await cluster.explain(name)).decision, 'hold AddressesEmpty');
    await cluster.setNode('n4', addressesOf('n4', '10.100.0.4'));
    const set = Date.now();
    assert.equal(await cluster.decided(name), passed);
    assert.ok(Date.now() - set < 1_000, `${Date.now() - set} ms`);
    await cluster.until('an Event', async () => (await cluster.events(name)).includes('Held'));
  });

  it('holds a CSR until the cloud provider has initialized the Node', async () => {
    await using approver = cluster.startApprover();
    await cluster.setNode('n5', addressesOf('n5', '10.100.0.5'));
    const taints = [
      {
        key: 'node.cloudprovider.kubernetes.io/uninitialized',
        value: 'true',
        effect: 'NoSchedule',
      },
    ];
    await cluster.patchNode('n5', { spec: { taints } });
    const name = await cluster.createCsr({ node: 'n5', ips: ['10.100.0.5'] });
    await cluster.until('a hold', () => approver.holds(name).includes('NodeUninitialized'));
    assert.equal((await cluster.explain(name)).decision, 'hold NodeUninitialized');
    await cluster.patchNode('n5', { spec: { taints: [] } });
    assert.equal(await cluster.decided(name), passed);
  });

  it('approves a CSR with an address that the Node gets later', async () => {
    await using approver = cluster.startApprover();
    await cluster.setNode('n6', addressesOf('n6', '10.100.0.6'));
    const old = await cluster.createCsr({ node: 'n6', ips: ['10.100.0.6'] });
    assert.equal(await cluster.decided(old), passed);
    const both = ['10.100.0.6', 'fd00::6'];
    const name = await cluster.createCsr({ node: 'n6', ips: both });
    await cluster.until('a hold', () => approver.holds(name).includes('SANNotOwned'));
    assert.equal((await cluster.explain(name)).decision, 'hold SANNotOwned');
    await cluster.setNode('n6', addressesOf('n6', ...both));
    assert.equal(await cluster.decided(name), passed);
  });

  it('decides each of 300 pending CSRs once, with one request', async () => {
    const nodes = Array.from({ length: 300 }, (_, at) => `many-${at}`);
    await Promise.all(nodes.map((node) => cluster.setNode(node, addressesOf(node))));
    const names = await Promise.all(
      nodes.map((node) => cluster.createCsr({ node, dns: [node], name: `csr-${node}` })),
    );
    await using approver = cluster.startApprover();
    await cluster.until('300 decisions', () => approver.logged('csr_decided').length === 300);
    const writes = (await cluster.requests()).filter(
      ({ resource, name = '' }) =>
        resource === 'certificatesigningrequests/approval' && names.includes(name),
    );
    assert.equal(writes.length, 300);
    assert.equal(new Set(writes.map(({ name }) => name)).size, 300);
    assert.ok(writes.every(({ code }) => code === 200));
  });

  it('sends no request about decided CSRs and CSRs of other signers', async () => {
    const decided = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
    await cluster.plane.kubectl('certificate', 'approve', decided);
    const foreign = await cluster.createCsr({
      node: 'n1',
      dns: ['n1'],
      signerName: 'example.com/signer',
    });
    await using approver = cluster.startApprover();
    const name = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
    assert.equal(await cluster.decided(name), passed);
    await cluster.until('its line', () => approver.logged('csr_decided').length === 1);
    const asked = (await cluster.requests()).map((request) => request.name);
    assert.ok(!asked.includes(decided) && !asked.includes(foreign));
  });

  it('keeps the decision of a person that came first, and conditions of other programs', async () => {
    await using approver = cluster.startApprover();
    for (const verb of ['approve', 'deny'] as const) {
      const name = await cluster.createCsr({ node: 'n-missing', dns: ['n-missing'] });
      await cluster.until('a hold', () => approver.holds(name).includes('NodeNotFound'));
      await cluster.plane.kubectl('certificate', verb, name);
      const condition = verb === 'approve' ? 'Approved KubectlApprove' : 'Denied KubectlDeny';
      assert.equal(await cluster.decided(name), condition);
    }
    const failed = await cluster.createCsr({ node: 'n-missing', dns: ['n-missing'] });
    const object = (await cluster.csr(failed)) as unknown as CsrObject;
    await cluster.plane.admin.must({
      method: 'PUT',
      path: `${csrPath(failed)}/status`,
      body: withCondition(object, 'Failed', 'Test'),
    });
    const name = await cluster.createCsr({ node: 'n-kept', dns: ['n-kept'] });
    const kept = (await cluster.csr(name)) as unknown as CsrObject;
    await cluster.plane.admin.must({
      method: 'PUT',
      path: `${csrPath(name)}/status`,
      body: withCondition(kept, 'example.com/Seen', 'Test'),
    });
    await cluster.setNode('n-missing', addressesOf('n-missing'));
    await cluster.setNode('n-kept', addressesOf('n-kept'));
    await cluster.until('an approval', async () => {
      return (await cluster.conditions(name)).includes('Approved');
    });
    assert.deepEqual(await cluster.conditions(name), ['example.com/Seen', 'Approved']);
    assert.deepEqual(await cluster.conditions(failed), ['Failed']);
  });

  it('reads the CSR once if a person approves it right before the decision', async () => {
    const { proxy, kubeconfig } = await startApproverProxy(cluster);
    await using between = proxy;
    const { plane } = cluster;
    await cluster.setNode('n8', addressesOf('n8'));
    between.set({
      meets: ({ method, path }) => method === 'PUT' && path.endsWith('/approval'),
      times: 1,
      serve: async (exchange) => {
        await plane.kubectl('certificate', 'approve', 'csr-raced');
        await relay(exchange);
      },
    });
    await using approver = cluster.startApprover({ kubeconfig });
    await cluster.createCsr({ node: 'n8', dns: ['n8'], name: 'csr-raced' });
    await cluster.until('a conflict', () => approver.logged('decision_refused').length === 1);
    // The next decision begins after the GET.
    const next = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
    assert.equal(await cluster.decided(next), passed);
    const requests = (await cluster.requests()).filter(({ name }) => name === 'csr-raced');
    assert.deepEqual(
      requests.map(({ verb, code }) => `${verb} ${code}`),
      ['update 409', 'get 200'],
    );
    assert.equal(await cluster.decided('csr-raced'), 'Approved KubectlApprove');
  });

  it('denies a CSR from before its Node was created again, and approves the next one', async () => {
    await using approver = cluster.startApprover();
    await cluster.setNode('n9', []);
    const earlier = await cluster.createCsr({ node: 'n9', dns: ['n9'] });
    const created = Date.now();
    await cluster.until('a hold', () => approver.holds(earlier).includes('AddressesEmpty'));
    await cluster.until('another second', () => Date.now() > created + 2_000);
    await cluster.plane.admin.must({ method: 'DELETE', path: '/api/v1/nodes/n9' });
    await cluster.until('another hold', () => approver.holds(earlier).includes('NodeNotFound'));
    await cluster.setNode('n9', addressesOf('n9'));
    assert.equal(await cluster.decided(earlier), 'Denied NodeRecreated');
    const name = await cluster.createCsr({ node: 'n9', dns: ['n9'] });
    assert.equal(await cluster.decided(name), passed);
  });

  it('holds a CSR with the address of an older Node, with Events on both Nodes', async () => {
    await cluster.setNode('older', addressesOf('older', '10.100.0.40'));
    const created = Date.now();
    await cluster.until('another second', () => Date.now() > created + 2_000);
    await cluster.setNode('younger', addressesOf('younger', '10.100.0.40'));
    await using approver = cluster.startApprover();
    const claimed = await cluster.createCsr({ node: 'younger', ips: ['10.100.0.40'] });
    await cluster.until('a hold', () => approver.holds(claimed).includes('AddressConflict'));
    assert.equal((await cluster.explain(claimed)).decision, 'hold AddressConflict');
    for (const name of [claimed, 'older', 'younger']) {
      await cluster.until('an Event', async () => (await cluster.events(name)).includes('Held'));
    }
    assert.match((await approver.page('/metrics')).text, /pending\{reason="AddressConflict"\} 1\n/);
    const owned = await cluster.createCsr({ node: 'older', ips: ['10.100.0.40'] });
    assert.equal(await cluster.decided(owned), passed);
    await cluster.setNode('older', addressesOf('older', '10.100.0.41'));
    assert.equal(await cluster.decided(claimed), passed);
  });

  it('ignores a CSR of a requestor that is not a node, with one Event', async () => {
    await using approver = cluster.startApprover();
    await using jane = cluster.plane.clientAs('jane', ['system:masters', 'system:authenticated']);
    const usages = ['digital signature', 'server auth'];
    const body = newCsr({ name: 'csr-jane', request: requestPem(), usages });
    await jane.must({ method: 'POST', path: csrPath(), body });
    await cluster.until('an Event', async () => (await cluster.events('csr-jane')).length > 0);
    await approver.approver.reload();
    const name = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
    assert.equal(await cluster.decided(name), passed);
    assert.deepEqual(await cluster.events('csr-jane'), ['Ignored']);
    assert.deepEqual(await cluster.writesTo('csr-jane'), []);
    assert.deepEqual(await cluster.conditions('csr-jane'), []);
  });

  it('changes nothing in the mode observe, and counts as in enforce', async () => {
    const good = await cluster.createCsr({ node: 'n1', ips: ['fd00::2'] });
    const bad = await cluster.createCsr({ node: 'n5', dns: ['kubernetes'] });
    const before = [await cluster.csr(good), await cluster.csr(bad)];
    {
      await using observer = cluster.startApprover({ policy: () => ({ mode: 'observe' }) });
      await cluster.until('two decisions', () => observer.logged('csr_decided').length === 2);
      const { text } = await observer.page('/metrics');
      assert.match(text, /decisions_total\{outcome="approve",reason="ServingPolicyPassed"\} 1\n/);
      assert.match(text, /decisions_total\{outcome="deny",reason="ProtectedName"\} 1\n/);
    }
    assert.deepEqual([await cluster.csr(good), await cluster.csr(bad)], before);
    await using approver = cluster.startApprover();
    assert.equal(await cluster.decided(good), passed);
    assert.equal(await cluster.decided(bad), 'Denied ProtectedName');
    // The approver writes a line after the answer of the API server.
    await cluster.until('both lines', () => approver.logged('csr_decided').length === 2);
  });

  it('evaluates held CSRs again after a reload, and keeps a policy that was valid', async () => {
    let domains: string[] | undefined;
    let broken = false;
    const policy = (): object => {
      if (broken) throw new Error('invalid');
      return { mode: 'approve-only', allowedDomains: domains };
    };
    domains = ['example.com'];
    await using approver = cluster.startApprover({ policy });
    await cluster.setNode('n7.example.org', addressesOf('n7.example.org'));
    const name = await cluster.createCsr({ node: 'n7.example.org', dns: ['n7.example.org'] });
    await cluster.until('a hold', () => approver.holds(name).includes('NameNotAllowed'));
    broken = true;
    await approver.approver.reload();
    assert.equal(approver.logged('policy_refused').length, 1);
    assert.match((await approver.page('/metrics')).text, /policy_last_reload_successful 0\n/);
    broken = false;
    domains = ['example.org'];
    await approver.approver.reload();
    assert.equal(await cluster.decided(name), passed);
    assert.match((await approver.page('/metrics')).text, /policy_last_reload_successful 1\n/);
  });

  it('names a missing permission, is not ready, and works after the grant', async () => {
    await using approver = cluster.startApprover();
    await cluster.until('leadership', () => approver.logged('approver_leading').length === 1);
    const role = 'nodecertd:approve-kubelet-serving';
    const binding = await cluster.takeBinding(role);
    const name = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
    await cluster.until('a log line', () => approver.logged('approver_retrying').length > 0);
    const { status, text } = await approver.page('/readyz');
    assert.equal(status, 503);
    assert.match(text, /kubernetes.io\/kubelet-serving[\s\S]*remedy: /);
    await cluster.giveBinding(binding);
    assert.equal(await cluster.decided(name), passed);
    await cluster.until('readiness', async () => (await approver.page('/readyz')).status === 200);
    assert.equal(approver.logged('approver_retrying').length, 1);
  });
});
