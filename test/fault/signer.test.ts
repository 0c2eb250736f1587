import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { skipWithoutGoProgram } from '../support/go-program.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { collectRows } from './collect-rows.ts';
import { signer } from './signer.ts';
import type { ApprovedFacts } from './signer/comparison.ts';
import { certificateDifference, judged, requestDifference } from './signer/comparison.ts';
import type { GoReading } from './signer/signer-judge.ts';
import { requestPem } from '../approver/requests.ts';

const skip = skipWithoutRealControlPlane() || skipWithoutGoProgram('fault-signer');

describe('the signer', { skip }, () => {
  it('issues each certificate as approved, for whatever the policy approves', async (context) => {
    const rows = await collectRows(signer, context);
    const [compared, issued] = rows;
    assert.equal(rows.length, 2);
    assert.equal(compared?.tried, 600);
    // Without approvals, and without refusals by Go, nothing would be compared.
    assert.ok((issued?.tried ?? 0) > 100, `${issued?.tried} approvals`);
    assert.ok(compared.seen.some((kind) => kind.includes('Go rejects')));
  });
});

describe('judged()', () => {
  const owner = { node: 'n1', address: '10.100.0.2' };
  const usages = ['digital signature', 'server auth'];
  const { decision, facts } = judged({ owner, request: requestPem(), usages });

  it('approves the names and addresses of the node', () => {
    assert.equal(decision, 'approve ServingPolicyPassed');
    assert.deepEqual([facts?.dns, facts?.ips], [['n1'], ['10.100.0.2']]);
  });

  const read = readingOf(facts);
  const issued = {
    ...read,
    extensions: ['15', '17', '19', '35', '37'].map((id) => `2.5.29.${id}`),
  };
  const changes: readonly [string, Partial<GoReading>][] = [
    ['another CN', { subject: [['2.5.4.3', 'system:node:n2']] }],
    ['another name', { dns: ['n1', 'n2'] }],
    ['another address', { ips: [] }],
    ['another key', { keyDigest: 'x' }],
    ['a URI', { others: 1 }],
    ['another extension', { extensions: ['2.5.29.17', '1.2.3'] }],
  ];
  it('has facts that differ from those of Go in no respect', () => {
    assert.ok(facts);
    assert.equal(requestDifference(facts, read), undefined);
    assert.equal(certificateDifference(facts, issued), undefined);
  });
  for (const [name, change] of changes) {
    it(`has facts that differ from ${name}`, () => {
      assert.ok(facts);
      assert.match(requestDifference(facts, { ...read, ...change }) ?? '', /approved was/);
      assert.match(certificateDifference(facts, { ...issued, ...change }) ?? '', /approved was/);
    });
  }
  const usageChanges: readonly [string, Partial<GoReading>][] = [
    ['another key usage', { keyUsage: 5 }],
    ['client auth', { extKeyUsage: [1, 2] }],
    ['a CA', { isCA: true }],
  ];
  for (const [name, change] of usageChanges) {
    it(`has facts that differ from a certificate with ${name}`, () => {
      assert.ok(facts);
      assert.match(certificateDifference(facts, { ...issued, ...change }) ?? '', /approved was/);
    });
  }
});

function readingOf(facts: ApprovedFacts | undefined): GoReading {
  assert.ok(facts);
  const { subject, dns, ips, keyDigest } = facts;
  const rest = { others: 0, extensions: ['2.5.29.17'], keyUsage: 1, extKeyUsage: [1], isCA: false };
  return { subject, dns, ips, keyDigest, ...rest };
}
