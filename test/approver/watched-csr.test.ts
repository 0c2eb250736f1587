import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { readRequest } from '../../src/approver/request/read-request.ts';
import type { WatchedCsr } from '../../src/approver/watched-csr.ts';
import { isPending, keyDigestOf, watchedCsrSchema } from '../../src/approver/watched-csr.ts';
import { dns, nodeSubject, requestPem, rsaAlgorithm } from './requests.ts';

function csrWith(
  parts: { readonly status?: object; readonly request?: Uint8Array } = {},
): WatchedCsr {
  const { status = {}, request = requestPem() } = parts;
  return v.parse(watchedCsrSchema, {
    metadata: {
      name: 'csr-1',
      uid: 'uid-1',
      resourceVersion: '7',
      creationTimestamp: '2026-01-01T00:00:00Z',
      generateName: 'csr-',
      labels: { a: 'b' },
      annotations: { kept: 'yes' },
      managedFields: [{ manager: 'kubelet' }],
    },
    spec: {
      request: Buffer.from(request).toString('base64'),
      signerName: 'kubernetes.io/kubelet-serving',
      username: 'system:node:n1',
    },
    status,
  });
}

describe('watchedCsrSchema', () => {
  it('keeps the metadata and the conditions for an update, without managedFields', () => {
    const condition = { type: 'example.com/Seen', status: 'True', lastUpdateTime: 'then' };
    const csr = csrWith({ status: { conditions: [condition] } });
    assert.deepEqual(csr.metadata, {
      name: 'csr-1',
      uid: 'uid-1',
      resourceVersion: '7',
      creationTimestamp: '2026-01-01T00:00:00Z',
      generateName: 'csr-',
      labels: { a: 'b' },
      annotations: { kept: 'yes' },
    });
    assert.deepEqual(csr.conditions, [condition]);
    assert.equal(csr.username, 'system:node:n1');
  });
});

describe('isPending()', () => {
  const cases: readonly [string, object, boolean][] = [
    ['no condition', {}, true],
    ['a condition of another program', { conditions: [{ type: 'example.com/Seen' }] }, true],
    ['Approved', { conditions: [{ type: 'Approved' }] }, false],
    ['Denied', { conditions: [{ type: 'Denied' }] }, false],
    ['Failed', { conditions: [{ type: 'Failed' }] }, false],
    ['a certificate', { certificate: 'AA==' }, false],
  ];
  for (const [what, status, expected] of cases) {
    it(`is ${expected} with ${what}`, () => {
      assert.equal(isPending(csrWith({ status })), expected);
    });
  }
});

describe('keyDigestOf()', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const requests: readonly [string, Uint8Array][] = [
    ['an EC key', requestPem()],
    ['an RSA key', requestPem({ keys: rsa, algorithm: rsaAlgorithm(11, 'sha256') })],
    ['a long subject', requestPem({ subject: nodeSubject(`system:node:${'n'.repeat(200)}`) })],
    ['many SANs', requestPem({ altNames: Array.from({ length: 64 }, (_, at) => dns(`n${at}`)) })],
  ];
  for (const [what, request] of requests) {
    it(`equals the digest of the whole parser for ${what}`, () => {
      const reading = readRequest(request);
      assert.ok(reading.kind === 'read');
      assert.equal(keyDigestOf(csrWith({ request })), reading.request.keyDigest);
    });
  }

  const broken: readonly [string, string][] = [
    ['an empty request', ''],
    ['no PEM', 'hello'],
    ['an empty block', '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n'],
    ['garbage', '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n'],
  ];
  for (const [what, text] of broken) {
    it(`is undefined for ${what}`, () => {
      assert.equal(keyDigestOf(csrWith({ request: Buffer.from(text) })), undefined);
    });
  }
});
