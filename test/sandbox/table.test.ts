import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import type { CsrObject } from './api-object.ts';
import { csrResource } from './api-object.ts';
import { toTable, wantsTable } from './table.ts';

const createdAt = Date.UTC(2026, 0, 1);

function csr(types: readonly string[], certificate?: string): CsrObject {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      name: 'c',
      uid: 'u',
      resourceVersion: '7',
      creationTimestamp: new Date(createdAt).toISOString(),
    },
    spec: { request: '', signerName: 'example.com/x', usages: [], username: 'jane', groups: [] },
    status: {
      conditions: types.map((type) => ({ type, status: 'True' })),
      ...(certificate !== undefined && { certificate }),
    },
  };
}

function cells(object: CsrObject): unknown[] {
  const { rows } = toTable({
    resource: csrResource,
    objects: [object],
    resourceVersion: '7',
    now: createdAt + 25 * hour,
  }) as { rows: { cells: unknown[] }[] };
  return rows[0]?.cells ?? [];
}

describe('toTable()', () => {
  it('shows the columns of kubectl get csr', () => {
    const asked = { ...csr([]), spec: { ...csr([]).spec, expirationSeconds: 5400 } };
    assert.deepEqual(cells(asked), ['c', '1d1h', 'example.com/x', 'jane', '1h30m', 'Pending']);
    assert.equal(cells(csr([]))[4], '<none>');
  });

  for (const [types, certificate, text] of [
    [[], undefined, 'Pending'],
    [['Approved'], undefined, 'Approved'],
    [['Approved'], 'x', 'Approved,Issued'],
    [['Denied'], undefined, 'Denied'],
    [['Approved', 'Failed'], undefined, 'Approved,Failed'],
    [['Failed'], undefined, 'Pending,Failed'],
  ] as const) {
    it(`says ${text} of [${types.join(', ')}] ${certificate === undefined ? 'without' : 'with'} a certificate`, () => {
      assert.equal(cells(csr(types, certificate))[5], text);
    });
  }
});

describe('wantsTable()', () => {
  for (const [accept, expected] of [
    [undefined, false],
    ['application/json', false],
    ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json', true],
    ['application/json;as=Table;v=v1beta1;g=meta.k8s.io', false],
    ['application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io', false],
  ] as const) {
    it(`is ${expected} for ${accept}`, () => {
      assert.equal(wantsTable(accept), expected);
    });
  }
});
