import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import type { ListedCsr } from '../../src/kube/csr-list.ts';
import { isOfNode, requestFindings } from '../../src/doctor/requests.ts';
import { makeRequest } from '../sandbox/fixtures.ts';
import { summaryOf, textOf } from './findings.ts';

const now = Date.UTC(2026, 0, 15);
const serving: ListedCsr = {
  name: 'node-csr-1',
  createdAt: now - hour,
  username: 'system:node:n1',
  signerName: kubeletServingSigner,
  request: new Uint8Array(),
  status: { conditions: [] },
};
const condition = (type: string): ListedCsr['status'] => ({
  conditions: [{ type, status: 'True', reason: 'Because', message: 'of it' }],
});
const issued = { ...condition('Approved'), certificate: new Uint8Array([1]) };

describe('requestFindings()', () => {
  const rows: readonly (readonly [string, readonly ListedCsr[], readonly string[], RegExp?])[] = [
    ['no CSRs', [], ['ok requests']],
    ['an issued CSR', [{ ...serving, status: issued }], ['ok requests']],
    [
      'a pending serving CSR',
      [serving],
      ['warning request-pending'],
      /has been pending for 1h[^]*Kubernetes never approves serving certificates[^]*kubectl certificate approve node-csr-1; [^]*nodecertd approver explain node-csr-1$/,
    ],
    [
      'a CSR that nodecertd approver holds',
      [{ ...serving, note: { outcome: 'hold', reason: 'R', message: 'm', remedy: 'Fix it' } }],
      ['warning request-pending'],
      /has been pending for 1h\nnodecertd approver holds it: R: m\nFix it$/,
    ],
    [
      'a CSR that nodecertd approver denied',
      [
        {
          ...serving,
          status: condition('Denied'),
          note: { outcome: 'deny', reason: 'Because', message: 'm', remedy: 'Fix it' },
        },
      ],
      ['error request-denied'],
      /was denied: Because: of it[^]*\nFix it; then request again/,
    ],
    ['a CSR created just now', [{ ...serving, createdAt: now - second }], ['info request-pending']],
    [
      'a pending client CSR',
      [{ ...serving, signerName: kubeletClientSigner }],
      ['warning request-pending'],
      /if system:node:n1 may create certificatesigningrequests\/selfnodeclient/,
    ],
    [
      'a pending CSR of a bootstrapper',
      [{ ...serving, signerName: kubeletClientSigner, username: 'system:bootstrap:abcdef' }],
      ['warning request-pending'],
      /system:bootstrap:abcdef may create certificatesigningrequests\/nodeclient/,
    ],
    [
      'a pending CSR for another signer',
      [{ ...serving, signerName: 'example.com/x' }],
      ['warning request-pending'],
      /The operator of the signer example\.com\/x/,
    ],
    [
      'an approved CSR',
      [{ ...serving, status: condition('Approved'), decidedAt: now - 10 * minute }],
      ['error request-unissued'],
      /was approved 10m ago [^]*signing controller[^]*kube-controller-manager/,
    ],
    [
      'a CSR approved just now',
      [{ ...serving, status: condition('Approved'), decidedAt: now }],
      ['info request-unissued'],
    ],
    [
      'an approved CSR for another signer',
      [{ ...serving, signerName: 'example.com/x', status: condition('Approved') }],
      ['error request-unissued'],
      /The signer example\.com\/x does not act/,
    ],
    [
      'a denied CSR',
      [{ ...serving, status: condition('Denied') }],
      ['error request-denied'],
      /was denied: Because: of it[^]*kubectl describe csr node-csr-1/,
    ],
    ['a failed CSR', [{ ...serving, status: condition('Failed') }], ['error request-failed']],
    [
      'a denied CSR with a later issued CSR',
      [
        { ...serving, status: condition('Denied') },
        { ...serving, name: 'later', createdAt: now - minute, status: issued },
      ],
      ['ok requests'],
    ],
    [
      'several pending CSRs',
      [serving, { ...serving, name: 'later', createdAt: now - 2 * minute }],
      ['warning request-pending'],
      /CSR later [^]*with 1 earlier pending for the same signer/,
    ],
    [
      'one CSR for each signer',
      [serving, { ...serving, name: 'c', signerName: kubeletClientSigner }],
      ['warning request-pending', 'warning request-pending'],
    ],
  ];
  for (const [name, csrs, expected, pattern = /./] of rows) {
    it(`finds ${expected.join(' and ')} for ${name}`, () => {
      const findings = requestFindings({ csrs, truncated: false }, now);
      assert.deepEqual(summaryOf(findings), expected);
      assert.match(textOf(findings), pattern);
    });
  }

  it('is info if only a part of the CSRs was read', () => {
    assert.deepEqual(summaryOf(requestFindings({ csrs: [], truncated: true }, now)), [
      'info requests',
    ]);
  });
});

describe('isOfNode()', () => {
  const long = `n${'1'.repeat(130)}`;
  const rows = [
    ['a CSR of the node', 'system:node:n1', 'system:node:other', true],
    ['a CSR of a bootstrapper with its name', 'system:bootstrap:abcdef', 'system:node:n1', true],
    [
      'a CSR of a bootstrapper with a longer name',
      'system:bootstrap:abcdef',
      'system:node:n10',
      false,
    ],
    ['a CSR of another node', 'system:node:n10', 'system:node:n10', false],
  ] as const;
  for (const [name, username, commonName, expected] of rows) {
    it(`${expected ? 'matches' : 'ignores'} ${name}`, async () => {
      const { pem } = await makeRequest({ commonName });
      const request = new Uint8Array(Buffer.from(pem));
      assert.equal(isOfNode('n1')({ ...serving, username, request }), expected);
    });
  }

  it('matches a name longer than 115 characters', async () => {
    const { pem } = await makeRequest({ commonName: `system:node:${long}` });
    const request = new Uint8Array(Buffer.from(pem));
    assert.equal(isOfNode(long)({ ...serving, username: 'x', request }), true);
    assert.equal(isOfNode(long.slice(0, -1))({ ...serving, username: 'x', request }), false);
  });

  it('ignores a malformed CSR', () => {
    assert.equal(isOfNode('n1')({ ...serving, username: 'x' }), false);
    const request = new Uint8Array(Buffer.from('-----BEGIN X-----\n!'));
    assert.equal(isOfNode('n1')({ ...serving, username: 'x', request }), false);
  });
});
