import type { Corpus } from './corpus.ts';

/** CSRs from the API server: pending, approved, denied, failed, issued. */
export function csrObjects({ requests, chain }: Corpus): Uint8Array[] {
  const certificate = Buffer.from(chain).toString('base64');
  const statuses = [
    undefined,
    {},
    { conditions: [condition('Approved')] },
    { conditions: [condition('Denied'), condition('Approved')] },
    { conditions: [condition('Approved'), condition('Failed')] },
    { conditions: [condition('Approved')], certificate },
  ];
  return statuses.map((status, index) =>
    Buffer.from(
      JSON.stringify({
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: {
          name: 'csr-1',
          uid: 'c0ffee00-0000-4000-8000-000000000001',
          resourceVersion: String(100 + index),
          creationTimestamp: '2026-01-01T00:00:00Z',
          labels: { a: 'b' },
        },
        spec: {
          request: Buffer.from(requests[0] ?? []).toString('base64'),
          signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
          usages: ['digital signature', 'client auth'],
          username: 'system:node:worker-1',
          groups: ['system:nodes', 'system:authenticated'],
          extra: { 'authentication.kubernetes.io/credential-id': ['X509SHA256=abc'] },
        },
        ...(status && { status }),
      }),
    ),
  );
}

export function nodeObjects(): Uint8Array[] {
  const addresses = [
    { type: 'InternalIP', address: '10.0.0.1' },
    { type: 'InternalIP', address: 'fd00::1' },
    { type: 'Hostname', address: 'worker-1' },
    { type: 'ExternalDNS', address: 'worker-1.example.com' },
  ];
  return [undefined, {}, { addresses }, { addresses: [], conditions: [{ type: 'Ready' }] }].map(
    (status) =>
      Buffer.from(
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'Node',
          metadata: { name: 'worker-1', uid: 'u-1', resourceVersion: '7', annotations: {} },
          ...(status && { status }),
        }),
      ),
  );
}

export function statusObjects(): Uint8Array[] {
  return [
    [400, 'BadRequest', undefined],
    [401, 'Unauthorized', undefined],
    [403, 'Forbidden', { name: 'a', kind: 'nodes' }],
    [404, 'NotFound', { name: 'a', causes: [{ reason: 'x', message: 'y', field: 'z' }] }],
    [409, 'AlreadyExists', undefined],
    [410, 'Expired', undefined],
    [429, 'TooManyRequests', { retryAfterSeconds: 5 }],
    [500, 'InternalError', { retryAfterSeconds: 1 }],
    [503, 'ServiceUnavailable', undefined],
  ].map(([code, reason, details]) =>
    Buffer.from(
      JSON.stringify({
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: 'the server said so',
        reason,
        details,
        code,
      }),
    ),
  );
}

/** Watch responses, with one event on each line. */
export function watches(corpus: Corpus): Uint8Array[] {
  const objects = csrObjects(corpus).map((text) => Buffer.from(text).toString());
  const bookmark = line('BOOKMARK', '{"metadata":{"resourceVersion":"200"}}');
  const errors = statusObjects().map((text) => line('ERROR', Buffer.from(text).toString()));
  return [
    objects.map((object) => line('MODIFIED', object)).join(''),
    line('ADDED', objects[0] ?? '') + bookmark + line('DELETED', objects[2] ?? ''),
    bookmark.repeat(3) + (errors[5] ?? ''),
    ...errors,
    '',
  ].map((text) => Buffer.from(text));
}

function condition(type: string): object {
  return {
    type,
    status: 'True',
    reason: 'AutoApproved',
    message: 'by a person',
    lastUpdateTime: '2026-01-01T00:00:00Z',
  };
}

function line(type: string, object: string): string {
  return `{"type":"${type}","object":${object}}\n`;
}
