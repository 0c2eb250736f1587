import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { answerStatus } from '../fault/api/answers.ts';
import { applyShipped, ApproverPlane } from '../support/approver-plane.ts';
import type { Replica } from '../support/approver-plane.ts';
import type { ApproverProxy } from '../support/approver-proxy.ts';
import { startApproverProxy } from '../support/approver-proxy.ts';
import { shippedRights } from '../support/approver-rights.ts';
import type { ProxyFault } from '../support/fault-proxy.ts';
import { Machines } from '../support/machines.ts';
import type { Right } from '../support/rbac-rights.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

interface Case {
  /** The request in the log. */
  readonly request: string;
  /** What the API server does besides, so that the approver needs the right. */
  readonly fault?: () => ProxyFault;
  /** What it says about the permission; `cannot VERB resource "RESOURCE"` if absent. */
  readonly says?: RegExp;
  /** The verb of the request, if it is not that of the right. */
  readonly verb?: string;
  /** Whether one Event about the CSR names the permission. */
  readonly hasEvent?: boolean;
  /** The policy has the source `machine`. */
  readonly usesMachines?: boolean;
  /** The approver decides and stays ready without the right. */
  readonly optional?: boolean;
}

/** An API server before 1.34, on which a watch cannot begin with the existing objects. */
const withoutWatchList = (): ProxyFault => ({
  meets: ({ path }) => path.includes('sendInitialEvents'),
  serve: async (exchange) => {
    answerStatus(exchange, { code: 400, reason: 'BadRequest' });
  },
});

/** The outcome of the first decision is unknown, so the approver has to read the CSR. */
const failingOnce = (): ProxyFault => ({
  meets: ({ method, path }) => method === 'PUT' && path.endsWith('/approval'),
  times: 1,
  serve: async (exchange) => {
    answerStatus(exchange, { code: 500, reason: 'InternalError' });
  },
});

const lease = 'the Lease nodecertd/nodecertd-approver';
const csrs = 'certificatesigningrequests';

/** The Lease is deleted before each case, so that a replica has to create it. */
const cases: Readonly<Record<string, Case>> = {
  [`get ${csrs}`]: { request: 'reading a CSR', fault: failingOnce, hasEvent: true },
  [`list ${csrs}`]: { request: `watching ${csrs}`, fault: withoutWatchList },
  [`watch ${csrs}`]: { request: `watching ${csrs}` },
  [`update ${csrs}/approval`]: { request: 'decisions', hasEvent: true },
  'get nodes': { request: 'reading a Node', hasEvent: true },
  'list nodes': { request: 'watching nodes', fault: withoutWatchList },
  'watch nodes': { request: 'watching nodes' },
  'list servicecidrs': { request: 'watching servicecidrs', fault: withoutWatchList },
  'watch servicecidrs': { request: 'watching servicecidrs' },
  'get services': { request: 'watching services' },
  'list endpointslices': { request: 'watching endpointslices', fault: withoutWatchList },
  'watch endpointslices': { request: 'watching endpointslices' },
  'create events': { request: 'Events', optional: true },
  'create leases': { request: lease },
  'get leases': { request: lease },
  'update leases': { request: lease },
  'approve signers': {
    request: 'decisions',
    says: /not permitted to approve requests with signerName "kubernetes\.io\/kubelet-serving"/,
    verb: 'update',
    hasEvent: true,
  },
  'list machines': { request: 'watching machines', fault: withoutWatchList, usesMachines: true },
  'watch machines': { request: 'watching machines', usesMachines: true },
};

describe('the shipped rights of the approver', { skip: skipWithoutRealControlPlane() }, () => {
  let cluster: ApproverPlane;
  let proxied: ApproverProxy;
  let machines: Machines;
  let rights: readonly Right[] = [];
  before(async () => {
    cluster = await ApproverPlane.start();
    proxied = await startApproverProxy(cluster);
    await applyShipped(cluster.plane, { folder: cluster.folder, file: 'rbac-machines.yaml' });
    machines = await Machines.define(cluster.plane, 'v1beta2');
    rights = [
      ...(await shippedRights(cluster, 'rbac.yaml')),
      ...(await shippedRights(cluster, 'rbac-machines.yaml')),
    ];
  });
  after(async () => {
    await proxied.proxy[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });

  it('each have a case here', () => {
    assert.deepEqual(rights.map(({ name }) => name).sort(), Object.keys(cases).sort());
  });

  /** A CSR that has to be approved, one that must never be, and one of a node without a Node. */
  async function createCsrs(number: number): Promise<{
    readonly good: string;
    readonly hostile: string;
    readonly early: string;
  }> {
    const [good, hostile, early] = ['good', 'hostile', 'early'].map((kind) => `${kind}-${number}`);
    assert.ok(good && hostile && early);
    for (const node of [good, hostile]) {
      const addresses = [{ type: 'Hostname', address: node }];
      const providerId = `test://${node}`;
      await cluster.setNode(node, addresses);
      await cluster.patchNode(node, { spec: { providerID: providerId } });
      await machines.set({ name: node, node, providerId, addresses });
    }
    await cluster.createCsr({ node: good, name: good, dns: [good] });
    await cluster.createCsr({ node: hostile, name: hostile, ips: ['10.96.0.1'] });
    await cluster.createCsr({ node: early, name: early, dns: [early] });
    return { good, hostile, early };
  }

  async function deleteLease(): Promise<void> {
    const path = `/apis/coordination.k8s.io/v1/namespaces/${cluster.namespace}/leases/nodecertd-approver`;
    await cluster.plane.admin.request({ method: 'DELETE', path });
  }

  /** The log, the metrics and /readyz name the permission. */
  async function requireNamed(approver: Replica, right: Right, one: Case): Promise<void> {
    const line = await cluster.until('a log line', () =>
      approver.logged('approver_retrying').find((line) => line['code'] === 'API_FORBIDDEN'),
    );
    assert.equal(line['request'], one.request);
    const [verb = '', resource = ''] = right.name.split(' ');
    const says = one.says ?? new RegExp(`cannot ${verb} resource "${resource}"`);
    assert.match(String(line['error']), says);
    assert.match(String(line['remedy']), /^Bind a role with the permission/);
    const { text: metrics } = await approver.page('/metrics');
    const counted = `api_requests_total{verb="${one.verb ?? verb}",code="403"}`;
    assert.ok(metrics.includes(counted), metrics);
    const { status, text } = await approver.page('/readyz');
    assert.equal(status, one.optional === true ? 200 : 503, text);
    assert.match(text, says);
  }

  async function forbiddenEvents(names: readonly string[]): Promise<string[]> {
    const events = await Promise.all(names.map((name) => cluster.events(name)));
    return events.flat().filter((reason) => reason === 'Forbidden');
  }

  for (const [number, [name, one]] of Object.entries(cases).entries()) {
    it(`the approver names it, decides nothing wrong, and goes on: ${name}`, async () => {
      const right = rights.find((candidate) => candidate.name === name);
      assert.ok(right);
      await deleteLease();
      if (name === 'update leases') {
        await using earlier = cluster.startApprover();
        await cluster.until('a leader', () => earlier.logged('approver_leading').length === 1);
      }
      const { good, hostile, early } = await createCsrs(number);
      await right.take();
      proxied.proxy.set(one.fault?.());
      await using approver = cluster.startApprover({
        kubeconfig: proxied.kubeconfig,
        policy: () => (one.usesMachines === true ? { sources: { machine: {} } } : {}),
      });
      await requireNamed(approver, right, one);
      if (one.hasEvent === true) {
        await cluster.until('an Event', async () => {
          return (await forbiddenEvents([good, hostile, early])).length > 0;
        });
      }
      assert.ok(!(await cluster.conditions(hostile)).includes('Approved'));
      if (one.usesMachines === true) {
        await cluster.until('a hold', () => approver.holds(good).includes('SourceUnavailable'));
      }

      await right.give();
      assert.equal(await cluster.decided(good), 'Approved ServingPolicyPassed');
      assert.equal(await cluster.decided(hostile), 'Denied ProtectedAddress');
      await cluster.until('a hold', () => approver.holds(early).includes('NodeNotFound'));
      await cluster.until('readiness', async () => {
        return (await approver.page('/readyz')).status === 200;
      });
      assert.deepEqual(await cluster.conditions(early), []);
      await cluster.until('two log lines', () => approver.logged('csr_decided').length === 2);
      if (one.hasEvent === true) {
        assert.equal((await forbiddenEvents([good, hostile, early])).length, 1);
      }
      await cluster.plane.deleteCsr(early);
    });
  }
});
