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
    ['none', [], ['ok requests']],
    ['an issued one', [{ ...serving, status: issued }], ['ok requests']],
    [
      'a pending serving one',
      [serving],
      ['warning request-pending'],
      /waits for an approver since 1h[^]*Nobody approves serving certificates by itself[^]*kubectl certificate approve node-csr-1$/,
    ],
    ['one made just now', [{ ...serving, createdAt: now - second }], ['info request-pending']],
    [
      'a pending client one',
      [{ ...serving, signerName: kubeletClientSigner }],
      ['warning request-pending'],
      /if system:node:n1 may create certificatesigningrequests\/selfnodeclient/,
    ],
    [
      'a pending one of a bootstrapper',
      [{ ...serving, signerName: kubeletClientSigner, username: 'system:bootstrap:abcdef' }],
      ['warning request-pending'],
      /system:bootstrap:abcdef may create certificatesigningrequests\/nodeclient/,
    ],
    [
      'a pending one of another signer',
      [{ ...serving, signerName: 'example.com/x' }],
      ['warning request-pending'],
      /Whoever runs the signer example\.com\/x/,
    ],
    [
      'an approved one',
      [{ ...serving, status: condition('Approved'), decidedAt: now - 10 * minute }],
      ['error request-unissued'],
      /approved since 10m [^]*signing controller[^]*kube-controller-manager/,
    ],
    [
      'one approved just now',
      [{ ...serving, status: condition('Approved'), decidedAt: now }],
      ['info request-unissued'],
    ],
    [
      'an approved one of another signer',
      [{ ...serving, signerName: 'example.com/x', status: condition('Approved') }],
      ['error request-unissued'],
      /Whoever signs for example\.com\/x does not act/,
    ],
    [
      'a denied one',
      [{ ...serving, status: condition('Denied') }],
      ['error request-denied'],
      /was denied: Because: of it[^]*kubectl describe csr node-csr-1/,
    ],
    ['a failed one', [{ ...serving, status: condition('Failed') }], ['error request-failed']],
    [
      'a denied one with a later issued one',
      [
        { ...serving, status: condition('Denied') },
        { ...serving, name: 'later', createdAt: now - minute, status: issued },
      ],
      ['ok requests'],
    ],
    [
      'several pending ones',
      [serving, { ...serving, name: 'later', createdAt: now - 2 * minute }],
      ['warning request-pending'],
      /request later [^]*and 1 earlier of the same signer/,
    ],
    [
      'one of each signer',
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

  it('does not call a part of the list the whole', () => {
    assert.deepEqual(summaryOf(requestFindings({ csrs: [], truncated: true }, now)), [
      'info requests',
    ]);
  });
});

describe('isOfNode()', () => {
  const long = `n${'1'.repeat(130)}`;
  const rows = [
    ['its own', 'system:node:n1', 'system:node:other', true],
    ['one for its name', 'system:bootstrap:abcdef', 'system:node:n1', true],
    [
      'one for a name that begins like its own',
      'system:bootstrap:abcdef',
      'system:node:n10',
      false,
    ],
    ['another node’s', 'system:node:n10', 'system:node:n10', false],
  ] as const;
  for (const [name, username, commonName, expected] of rows) {
    it(`${expected ? 'knows' : 'passes over'} ${name}`, async () => {
      const { pem } = await makeRequest({ commonName });
      const request = new Uint8Array(Buffer.from(pem));
      assert.equal(isOfNode('n1')({ ...serving, username, request }), expected);
    });
  }

  it('knows a name longer than 115 characters', async () => {
    const { pem } = await makeRequest({ commonName: `system:node:${long}` });
    const request = new Uint8Array(Buffer.from(pem));
    assert.equal(isOfNode(long)({ ...serving, username: 'x', request }), true);
    assert.equal(isOfNode(long.slice(0, -1))({ ...serving, username: 'x', request }), false);
  });

  it('passes over what is no request', () => {
    assert.equal(isOfNode('n1')({ ...serving, username: 'x' }), false);
    const request = new Uint8Array(Buffer.from('-----BEGIN X-----\n!'));
    assert.equal(isOfNode('n1')({ ...serving, username: 'x', request }), false);
  });
});
