import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parsePem } from '../../src/core/pem.ts';
import type { CsrObject } from './api-object.ts';
import type { ApiClient } from '../support/api-client.ts';
import {
  base64,
  csrBody,
  csrsPath,
  makeRequest,
  pem,
  refusal,
  run,
  servingSpec,
} from './fixtures.ts';
import type { KeyedRequest, Running } from './fixtures.ts';

let running: Running;
let request: KeyedRequest;
before(async () => {
  running = await run({ signing: false, approving: false });
  request = await makeRequest();
});
after(() => running[Symbol.asyncDispose]());

function create(client: ApiClient, body: unknown): Promise<unknown> {
  return client.must({ method: 'POST', path: csrsPath, body });
}

describe('creating a CSR', () => {
  it('records the authenticated user and starts without a status', async () => {
    const created = (await create(running.bootstrapper, {
      ...csrBody('mine', request.pem, {
        username: 'system:admin',
        groups: ['system:masters'],
        uid: '0',
        expirationSeconds: 600,
      }),
      status: { conditions: [{ type: 'Approved', status: 'True' }] },
    })) as CsrObject;
    assert.equal(created.metadata.name, 'mine');
    assert.match(created.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.equal(Date.parse(created.metadata.creationTimestamp), running.clock.now());
    assert.deepEqual(created.spec, {
      request: Buffer.from(request.pem).toString('base64'),
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      expirationSeconds: 600,
      usages: ['digital signature', 'client auth'],
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:authenticated'],
    });
    assert.deepEqual(created.status, {});
  });

  it('generates a different name from generateName each time', async () => {
    const body = { ...csrBody('', request.pem), metadata: { generateName: 'csr-' } };
    const names = new Set<string>();
    for (let count = 0; count < 5; count += 1) {
      names.add(((await create(running.bootstrapper, body)) as CsrObject).metadata.name);
    }
    assert.equal(names.size, 5);
    for (const name of names) assert.match(name, /^csr-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  });

  it('answers 409 AlreadyExists to a second CSR of the same name', async () => {
    const body = csrBody('twice', request.pem);
    await create(running.bootstrapper, body);
    const refused = await refusal(running.bootstrapper, { method: 'POST', path: csrsPath, body });
    assert.equal(refused.code, 409);
    assert.equal(refused.reason, 'AlreadyExists');
    assert.match(refused.message, /"twice" already exists/);
  });

  it('accepts the long node-csr-… names', async () => {
    const name = 'node-csr-Dv4_kQW-0aZ';
    assert.equal(
      ((await create(running.bootstrapper, csrBody(name, request.pem))) as CsrObject).metadata.name,
      name,
    );
  });

  it('answers 422 with the field of each invalid value', async () => {
    const [block] = parsePem(Buffer.from(request.pem));
    assert.ok(block);
    const { der } = block;
    const cutOff = pem('CERTIFICATE REQUEST', der.subarray(0, -40));
    const forged = Uint8Array.from(der);
    forged[der.length - 3] = (der.at(-3) ?? 0) ^ 1;
    const tampered = pem('CERTIFICATE REQUEST', forged);
    const rows: readonly (readonly [field: string, spec: Readonly<Record<string, unknown>>])[] = [
      ['spec.request', { request: '' }],
      ['spec.request', { request: base64('no PEM') }],
      ['spec.request', { request: base64(request.keyPem) }],
      ['spec.request', { request: base64(cutOff) }],
      ['spec.request', { request: base64(tampered) }],
      ['spec.usages', { usages: [] }],
      ['spec.usages', { usages: null }],
      ['spec.usages[1]', { usages: ['client auth', 'signing in'] }],
      ['spec.usages[1]', { usages: ['client auth', 'client auth'] }],
      ['spec.signerName', { signerName: '' }],
      ['spec.signerName', { signerName: 'nodomain/x' }],
      ['spec.signerName', { signerName: 'example.com' }],
      ['spec.signerName', { signerName: 'example.com/Upper' }],
      ['spec.signerName', { signerName: 'kubernetes.io/legacy-unknown' }],
      ['spec.expirationSeconds', { expirationSeconds: 599 }],
      ['spec.expirationSeconds', { expirationSeconds: -1 }],
    ];
    for (const [index, [field, spec]] of rows.entries()) {
      const body = csrBody(`invalid-${index}`, request.pem, spec);
      const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 422, JSON.stringify(spec));
      assert.equal(refused.reason, 'Invalid');
      assert.deepEqual(
        refused.details?.causes?.map((cause) => cause.field),
        [field],
        JSON.stringify(spec),
      );
    }
  });

  it('names every invalid field at once', async () => {
    const body = csrBody('all-wrong', 'x', { usages: [], signerName: 'x', expirationSeconds: 1 });
    const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
    assert.deepEqual(
      refused.details?.causes?.map((cause) => cause.field),
      ['spec.request', 'spec.usages', 'spec.signerName', 'spec.expirationSeconds'],
    );
  });

  it('accepts values at their limits', async () => {
    for (const [name, spec] of [
      ['at-600', { expirationSeconds: 600 }],
      ['any-signer', { signerName: 'example.com/my-signer.v1' }],
      ['old-usage', { signerName: 'example.com/x', usages: ['s/mime', 'signing'] }],
    ] as const) {
      await create(running.admin, csrBody(name, request.pem, spec));
    }
  });

  it('answers 400 to another kind of object', async () => {
    const good = csrBody('typed', request.pem);
    for (const body of [
      {},
      [],
      { ...good, kind: 'Pod' },
      { ...good, apiVersion: 'certificates.k8s.io/v1beta1' },
      csrBody('typed', request.pem, { usages: 'client auth' }),
      csrBody('typed', request.pem, { expirationSeconds: '600' }),
      csrBody('typed', request.pem, { request: '???' }),
      { ...good, metadata: { name: 7 } },
    ]) {
      const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 400, JSON.stringify(body).slice(0, 100));
      assert.equal(refused.reason, 'BadRequest');
    }
  });

  it('answers 422 to names that cannot be part of a path', async () => {
    for (const name of ['', '.', '..', 'a/b', 'a%b', 'a b', 'x'.repeat(254)]) {
      const body = csrBody(name, request.pem);
      const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 422, name);
    }
  });

  it("answers 403 to a node that requests another node's certificate", async () => {
    await using other = await run();
    const node = await other.connectNode('worker-1');
    const asked = await makeRequest({
      commonName: 'system:node:worker-10',
      ipAddresses: ['10.0.0.1'],
    });
    for (const spec of [{}, servingSpec]) {
      const body = csrBody('foreign', asked.pem, spec);
      const refused = await refusal(node, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 403);
      assert.match(refused.message, /CN=system:node:worker-1, found CN=system:node:worker-10/);
    }
    assert.equal(
      other.sandbox.csrs().find((csr) => csr.metadata.name === 'foreign'),
      undefined,
    );
  });

  it('answers 403 to a request for system:masters', async () => {
    const asked = await makeRequest({ commonName: 'jane', organizations: ['system:masters'] });
    const body = csrBody('masters', asked.pem, {
      signerName: 'kubernetes.io/kube-apiserver-client',
    });
    assert.equal(
      (await refusal(running.admin, { method: 'POST', path: csrsPath, body })).code,
      403,
    );
  });
});
