import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { approverNote } from '../../src/kube/approver-note.ts';
import { ApproverPlane } from '../support/approver-plane.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

describe(
  'a node whose CSR nodecertd approver holds',
  { skip: skipWithoutRealControlPlane() },
  () => {
    let folder = '';
    let cluster: ApproverPlane;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'nodecertd-approver-'));
      cluster = await ApproverPlane.start(folder);
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
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

    it('finds the reason in the CSR after a minute', async () => {
      await using approver = cluster.startApprover();
      const name = await cluster.createCsr({ node: 'n2', dns: ['n2'] });
      await cluster.until('a hold', () => approver.holds(name).includes('NodeNotFound'));
      const before = await cluster.csr(name);
      const found = await cluster.until(
        'the reason',
        async () => {
          return approverNote((await cluster.csr(name)).metadata.annotations ?? {});
        },
        150,
      );
      assert.deepEqual([found.outcome, found.reason], ['hold', 'NodeNotFound']);
      const { metadata, status } = await cluster.csr(name);
      assert.deepEqual([metadata.uid, status], [before.metadata.uid, before.status]);
      assert.deepEqual(
        (await cluster.writesTo(name)).map(({ code }) => code),
        [200],
      );
      await cluster.setNode('n2', [{ type: 'Hostname', address: 'n2' }]);
      assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    });
  },
);
