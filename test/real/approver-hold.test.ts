import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { DoctorFinding } from '../../src/core/findings.ts';
import { client, serving, TestNode } from '../support/agent.ts';
import { ApproverPlane } from '../support/approver-plane.ts';
import { doctorReport, findingOf, nodecertd } from '../support/doctor.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

describe(
  'a node whose CSR nodecertd approver holds',
  { skip: skipWithoutRealControlPlane() },
  () => {
    let cluster: ApproverPlane;
    before(async () => {
      cluster = await ApproverPlane.start();
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    it('may read its CSR, but no Events', async () => {
      const name = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
      const node = cluster.nodeClient('n1');
      const csrs = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
      const events = '/apis/events.k8s.io/v1/namespaces/default/events';
      const codes = [`${csrs}/${name}`, csrs, events, '/api/v1/namespaces/default/events'].map(
        async (path) => (await node.request({ method: 'GET', path })).status,
      );
      assert.deepEqual(await Promise.all(codes), [200, 200, 403, 403]);
    });

    it('shows the reason in status and doctor after a minute', async () => {
      await using approver = cluster.startApprover();
      await using node = await nodeWith('n2', { dnsNames: ['n2'], ipAddresses: ['10.100.0.2'] });
      const agent = node.start();
      const { csr } = await agent.event('csr_created', 'kubelet-server');
      const name = String(csr);
      await cluster.until('a hold', () => approver.holds(name).includes('NodeNotFound'));
      assert.match((await doctorOf(node)).remedy ?? '', /nodecertd approver explain node-csr-/);
      const before = await cluster.csr(name);
      const hold = async (): Promise<unknown> =>
        (await agent.certificate('kubelet-server')).csr?.hold;
      await cluster.until('the reason', hold, 150);
      assert.match(await statusOf(node), /nodecertd approver holds it: NodeNotFound: .*n2/);
      assert.match(
        (await doctorOf(node)).why ?? '',
        /^nodecertd approver holds it: NodeNotFound: /,
      );
      const { metadata, status } = await cluster.csr(name);
      assert.deepEqual([metadata.uid, status], [before.metadata.uid, before.status]);
      assert.equal((await cluster.writesTo(name)).length, 1);
      await cluster.setNode('n2', [
        { type: 'Hostname', address: 'n2' },
        { type: 'InternalIP', address: '10.100.0.2' },
      ]);
      await agent.event('certificate_stored', 'kubelet-server');
    });

    it('shows the remedy of a denial', async () => {
      await using _ = cluster.startApprover();
      await using node = await nodeWith('n3', { dnsNames: ['kubernetes'] });
      const agent = node.start();
      const denied = await cluster.until('a denial', async () => {
        const { lastFailure } = await agent.certificate('kubelet-server');
        return lastFailure?.code === 'CSR_DENIED' && lastFailure;
      });
      assert.match(denied.message, /was denied: ProtectedName: /);
      assert.match(denied.remedy ?? '', /; then request a certificate again: nodecertd renew/);
      assert.doesNotMatch(denied.remedy ?? '', /Ask the cluster administrator/);
    });

    async function nodeWith(name: string, names: object): Promise<TestNode> {
      const server = { ...serving, addresses: { from: 'static', ...names } };
      return TestNode.create(cluster.plane, name, { certificates: [client, server] });
    }
  },
);

async function statusOf(node: TestNode): Promise<string> {
  return (await nodecertd('status', '--config', node.configFile)).stdout;
}

async function doctorOf(node: TestNode): Promise<DoctorFinding> {
  const kubelet = join(node.directory, 'kubelet.yaml');
  const found = await doctorReport('--config', node.configFile, '--kubelet-config', kubelet);
  return findingOf(found, 'request-pending');
}
