import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ApproverSources } from '../../src/core/approver-policy.ts';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import type { Replica } from '../support/approver-plane.ts';
import { applyShipped, approverKubeconfig, ApproverPlane } from '../support/approver-plane.ts';
import type { MachineObject } from '../support/machines.ts';
import { scaled } from '../support/machine-speed.ts';
import { Machines } from '../support/machines.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';

const passed = 'Approved ServingPolicyPassed';
const role = 'nodecertd:approver-machines';

async function gauge(approver: Replica): Promise<string | undefined> {
  const { text } = await approver.page('/metrics');
  return /cache_synced\{resource="machines"\} (\d)\n/.exec(text)?.[1];
}

describe(
  'nodecertd approver with the source machine',
  { skip: skipWithoutRealControlPlane() },
  () => {
    let cluster: ApproverPlane;
    let machines: Machines;
    let nodes = 0;

    before(async () => {
      cluster = await ApproverPlane.start();
      await applyShipped(cluster.plane, { folder: cluster.folder, file: 'rbac-machines.yaml' });
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    function start(machine: ApproverSources['machine'] = {}): Replica {
      return cluster.startApprover({ policy: () => ({ sources: { machine } }) });
    }

    /** A Node with a providerID, as its cloud provider sets it. */
    async function addNode(): Promise<MachineObject> {
      nodes += 1;
      const node = `node-${nodes}`;
      const addresses: NodeAddress[] = [
        { type: 'Hostname', address: node },
        { type: 'InternalIP', address: `10.100.1.${nodes}` },
      ];
      await cluster.setNode(node, addresses);
      await cluster.patchNode(node, { spec: { providerID: `test://${node}` } });
      return { name: `machine-${nodes}`, node, providerId: `test://${node}`, addresses };
    }

    async function createCsr({ node, addresses }: MachineObject): Promise<string> {
      return cluster.createCsr({ node, dns: [node], ips: [addresses[1]?.address ?? ''] });
    }

    /** Waits for a hold, and returns its message. `explain` must say the same. */
    async function heldAlike(
      approver: Replica,
      csr: string,
      { code, machine = {} }: { readonly code: string; readonly machine?: object },
    ): Promise<string> {
      await cluster.until(`a hold of ${csr}`, () => approver.holds(csr).includes(code));
      const line = approver.logged('csr_held').findLast((one) => one['csr'] === csr);
      const { exitCode, decision, message } = await cluster.explain(csr, { sources: { machine } });
      assert.deepEqual([exitCode, decision], [3, `hold ${code}`]);
      assert.equal(message, line?.['decision']);
      return message;
    }

    it('holds without Machines in the cluster, and approves once they are defined', async () => {
      await using approver = start();
      const machine = await addNode();
      const csr = await createCsr(machine);
      const message = await heldAlike(approver, csr, { code: 'SourceUnavailable' });
      assert.match(message, /has no Machines of cluster\.x-k8s\.io in version v1beta2 or v1beta1/);
      assert.equal(await gauge(approver), '0');
      const { status, text } = await approver.page('/readyz');
      assert.equal(status, 503);
      assert.match(
        text,
        /^the leader has not read machines: .* has no Machines of cluster\.x-k8s\.io .*\nremedy: Install Cluster API /,
      );
      assert.deepEqual(await cluster.writesTo(csr), []);

      machines = await Machines.define(cluster.plane, 'v1beta2');
      await machines.set(machine);
      assert.equal(await cluster.decided(csr), passed);
      assert.equal(await gauge(approver), '1');
      assert.equal((await approver.page('/readyz')).text, 'leader\n');
    });

    /** What is wrong with the Machines of a Node, and the finding. */
    const wrong: readonly (readonly [string, (right: MachineObject) => MachineObject[], RegExp])[] =
      [
        ['no Machine', () => [], /no Machine has a nodeRef to node-\d+/],
        [
          'two Machines',
          (right) => [right, { ...right, name: `${right.name}-copy` }],
          /the Machines default\/machine-(\d+), default\/machine-\1-copy have a nodeRef to/,
        ],
        [
          'a nodeRef to another Node',
          (right) => [{ ...right, node: 'node-1' }],
          /no Machine has a nodeRef to node-\d+/,
        ],
        [
          'another providerID',
          (right) => [{ ...right, providerId: 'test://other' }],
          /the Machine default\/machine-\d+ has the providerID test:\/\/other, and the Node has test/,
        ],
        [
          'no addresses yet',
          (right) => [{ ...right, addresses: [] }],
          /the Machine default\/machine-\d+ does not have the address node-\d+/,
        ],
        [
          'another address',
          (right) => [{ ...right, addresses: right.addresses.slice(0, 1) }],
          /the Machine default\/machine-\d+ does not have the address 10\.100\.1\.\d+/,
        ],
      ];
    for (const [title, make, finding] of wrong) {
      it(`holds with ${title}, and approves within a second of the correction`, async () => {
        const right = await addNode();
        const objects = make(right);
        for (const object of objects) await machines.set(object);
        await using approver = start();
        const csr = await createCsr(right);
        assert.match(await heldAlike(approver, csr, { code: 'SourceDisagrees' }), finding);
        assert.deepEqual(await cluster.writesTo(csr), []);
        for (const { name } of objects.slice(1)) await machines.delete(name);
        await machines.set(right);
        const corrected = Date.now();
        assert.equal(await cluster.decided(csr), passed);
        assert.ok(Date.now() - corrected < scaled(1_000), `${Date.now() - corrected} ms`);
      });
    }

    it('approves with the right Machine, as explain says, and records its version', async () => {
      const right = await addNode();
      await machines.set(right);
      const csr = await createCsr(right);
      const explained = await cluster.explain(csr, { sources: { machine: {} } });
      assert.deepEqual(
        [explained.exitCode, explained.decision],
        [0, 'approve ServingPolicyPassed'],
      );
      await using approver = start();
      assert.equal(await cluster.decided(csr), passed);
      assert.deepEqual(approver.holds(csr), []);
      const { metadata, status } = await cluster.csr(csr);
      assert.equal(status.conditions?.[0]?.message, explained.message);
      const basis = JSON.parse(metadata.annotations?.['nodecertd.io/approver'] ?? '') as {
        readonly sources: Readonly<Record<string, string>>;
      };
      assert.match(basis.sources['machine'] ?? '', new RegExp(`^default/${right.name}@\\d+$`));
    });

    it('names the missing permission, and works after the grant', async () => {
      const binding = await cluster.takeBinding(role);
      const right = await addNode();
      await machines.set(right);
      await using approver = start();
      const csr = await createCsr(right);
      await cluster.until('a hold', () => approver.holds(csr).includes('SourceUnavailable'));
      const { decision, message } = await cluster.explain(csr, { sources: { machine: {} } });
      assert.equal(decision, 'hold SourceUnavailable');
      assert.match(message, /cannot list resource "machines"/);
      const { status, text } = await approver.page('/readyz');
      assert.equal(status, 503);
      assert.match(text, /machines[\s\S]*remedy: /);
      await cluster.giveBinding(binding);
      assert.equal(await cluster.decided(csr), passed);
      assert.equal((await approver.page('/readyz')).status, 200);
    });

    describe('in a management cluster', () => {
      let management: RealControlPlane;
      let managed: Machines;
      const machine = { kubeconfig: '' };

      before(async () => {
        management = await startRealControlPlane({ signingSeconds: 3_600 });
        managed = await Machines.define(management, 'v1beta1');
        const { namespace } = cluster;
        await management.kubectl('create', 'namespace', namespace);
        await management.kubectl('create', 'sa', 'nodecertd-approver', '-n', namespace);
        await applyShipped(management, { folder: cluster.folder, file: 'rbac-machines.yaml' });
        machine.kubeconfig = join(cluster.folder, 'management.conf');
        await writeFile(machine.kubeconfig, await approverKubeconfig(management));
      });
      after(async () => {
        await management[Symbol.asyncDispose]();
      });

      it('approves with its Machines, and not with those of its own cluster', async () => {
        const right = await addNode();
        await machines.set(right);
        await using approver = start(machine);
        const csr = await createCsr(right);
        const message = await heldAlike(approver, csr, { code: 'SourceDisagrees', machine });
        assert.match(message, /no Machine has a nodeRef/);
        await managed.set(right);
        assert.equal(await cluster.decided(csr), passed);
        assert.equal(await gauge(approver), '1');
      });

      it('holds while it is away, and approves when it answers again', async () => {
        await using approver = start(machine);
        await cluster.until('a leader', () => approver.logged('approver_leading').length === 1);
        await cluster.until('the Machines', async () => (await gauge(approver)) === '1');
        await management.stopApi();
        await cluster.until('unavailability', async () => (await gauge(approver)) === '0');
        const right = await addNode();
        const csr = await createCsr(right);
        await cluster.until('a hold', () => approver.holds(csr).includes('SourceUnavailable'));
        const { decision, message } = await cluster.explain(csr, { sources: { machine } });
        assert.equal(decision, 'hold SourceUnavailable', message);
        assert.match((await approver.page('/readyz')).text, /has not read machines/);
        await management.startApi();
        await managed.set(right);
        assert.equal(await cluster.decided(csr), passed);
        assert.equal((await approver.page('/readyz')).text, 'leader\n');
      });

      it('holds without its kubeconfig, and approves once the file is there', async () => {
        const late = { kubeconfig: join(cluster.folder, 'late.conf') };
        const right = await addNode();
        await managed.set(right);
        await using approver = start(late);
        const csr = await createCsr(right);
        const message = await heldAlike(approver, csr, {
          code: 'SourceUnavailable',
          machine: late,
        });
        assert.match(message, /late\.conf/);
        await writeFile(late.kubeconfig, await approverKubeconfig(management));
        assert.equal(await cluster.decided(csr), passed);
      });
    });
  },
);
