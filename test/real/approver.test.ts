import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ApproverPlane } from '../support/approver-plane.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

const n1Addresses = [
  { type: 'Hostname', address: 'n1' },
  { type: 'InternalIP', address: '10.100.0.2' },
  { type: 'InternalIP', address: 'fd00::2' },
];

describe('nodecertd approver', { skip: skipWithoutRealControlPlane() }, () => {
  let folder = '';
  let cluster: ApproverPlane;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nodecertd-approver-'));
    cluster = await ApproverPlane.start(folder);
    await cluster.setNode('n1', n1Addresses);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it('approves a CSR of a node for its own addresses, and the signer issues', async () => {
    await using approver = cluster.startApprover();
    const name = await cluster.createCsr({ node: 'n1', dns: ['n1'], ips: ['10.100.0.2'] });
    assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    await cluster.until('a certificate', async () => {
      return (await cluster.csr(name)).status.certificate;
    });
    console.log(approver.lines);
  });
});
