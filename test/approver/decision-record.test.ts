import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { recordDecision } from '../../src/approver/decision-record.ts';
import type { ApiRequest } from '../../src/kube/rest-client.ts';
import { watchedCsrSchema } from '../../src/approver/watched-csr.ts';
import { requestPem } from './requests.ts';

const object = {
  metadata: {
    name: 'csr-1',
    uid: 'uid-1',
    resourceVersion: '7',
    creationTimestamp: '2026-01-01T00:00:00Z',
    annotations: { kept: 'yes' },
  },
  spec: {
    request: Buffer.from(requestPem()).toString('base64'),
    signerName: 'kubernetes.io/kubelet-serving',
    username: 'system:node:n1',
  },
  status: { conditions: [{ type: 'example.com/Seen', status: 'True' }] },
};

/** The request that records an approval on this basis. */
async function requestFor(sources: Readonly<Record<string, string>>): Promise<ApiRequest> {
  const sent: ApiRequest[] = [];
  await recordDecision(
    {
      request: async (request, schema) => {
        sent.push(request);
        return v.parse(schema, object);
      },
    },
    {
      csr: v.parse(watchedCsrSchema, object),
      decision: {
        outcome: 'approve',
        code: 'ServingPolicyPassed',
        message: 'passed',
        failedCheck: undefined,
        finding: undefined,
      },
      basis: { policyDigest: 'd'.repeat(64), sources },
      mode: 'enforce',
    },
    new AbortController().signal,
  );
  const [request] = sent;
  assert.ok(request);
  return request;
}

async function annotationFor(sources: Readonly<Record<string, string>>): Promise<string> {
  const { body } = await requestFor(sources);
  const { metadata } = body as { metadata: { annotations: Record<string, string> } };
  return metadata.annotations['nodecertd.io/approver'] ?? '';
}

describe('recordDecision()', () => {
  it('adds a condition and an annotation, and sends back everything else', async () => {
    const { verb, path, body, query } = await requestFor({ node: 'uid-n1@100' });
    assert.deepEqual([verb, query], ['update', undefined]);
    assert.match(path, /\/certificatesigningrequests\/csr-1\/approval$/);
    const basis = { policyDigest: 'd'.repeat(64), sources: { node: 'uid-n1@100' } };
    const condition = { type: 'Approved', status: 'True', reason: 'ServingPolicyPassed' };
    assert.deepEqual(body, {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: {
        ...object.metadata,
        annotations: { kept: 'yes', 'nodecertd.io/approver': JSON.stringify(basis) },
      },
      status: {
        conditions: [...object.status.conditions, { ...condition, message: 'passed' }],
      },
    });
  });

  it('shortens an annotation of more than 2 KB to the digest of the policy', async () => {
    const overhead = Buffer.byteLength(await annotationFor({ node: '' }));
    const longest = await annotationFor({ node: 'x'.repeat(2_048 - overhead) });
    assert.equal(Buffer.byteLength(longest), 2_048);
    for (const version of ['x'.repeat(2_049 - overhead), '\u{1f4a9}'.repeat(600)]) {
      const text = await annotationFor({ node: version });
      assert.deepEqual(JSON.parse(text), { policyDigest: 'd'.repeat(64) });
    }
  });
});
