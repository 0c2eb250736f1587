import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LeaseRecord } from '../../src/kube/lease-client.ts';
import { LeaseClient } from '../../src/kube/lease-client.ts';
import { ApiServer, clientOf } from './support/api-server.ts';
import { handlers, LeaseApi } from './support/lease-api.ts';
import { failureOf } from './support/requests.ts';

const { signal } = new AbortController();
const place = { namespace: 'kube-system', name: 'nodecertd-test' };
const key = 'kube-system/nodecertd-test';
const record: LeaseRecord = {
  holder: 'cp1_x',
  durationSeconds: 60,
  acquireTime: Date.UTC(2026, 10, 29, 2, 0, 0, 5),
  renewTime: Date.UTC(2026, 10, 29, 2, 0, 10),
  transitions: 3,
};

async function started(): Promise<{
  readonly api: LeaseApi;
  readonly lease: LeaseClient;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}> {
  const api = new LeaseApi();
  const server = await ApiServer.start(handlers(api.handle));
  const client = await clientOf(server);
  return {
    api,
    lease: new LeaseClient(client, place),
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe('LeaseClient', () => {
  it('create() stores the record, and get() returns it', async () => {
    await using test = await started();
    assert.equal(await test.lease.get(signal), undefined);
    const created = await test.lease.create(record, signal);
    const { metadata, ...stored } = created;
    assert.deepEqual(stored, { ...record, resourceVersion: '1' });
    assert.equal(metadata['name'], place.name);
    assert.deepEqual(await test.lease.get(signal), created);
    assert.equal(test.api.leases.get(key)?.spec['acquireTime'], '2026-11-29T02:00:00.005000Z');
  });

  it('create() of a Lease that exists is a conflict', async () => {
    await using test = await started();
    await test.lease.create(record, signal);
    assert.equal((await failureOf(test.lease.create(record, signal))).code, 'API_CONFLICT');
  });

  it('update() with an outdated resourceVersion is a conflict', async () => {
    await using test = await started();
    const first = await test.lease.create(record, signal);
    const second = await test.lease.update({ ...first, transitions: 4 }, signal);
    assert.equal(second.transitions, 4);
    assert.equal((await failureOf(test.lease.update(first, signal))).code, 'API_CONFLICT');
  });

  it('update() without a holder releases the Lease', async () => {
    await using test = await started();
    const { holder: _, ...released } = await test.lease.create(record, signal);
    assert.equal((await test.lease.update(released, signal)).holder, undefined);
    assert.ok(!('holderIdentity' in (test.api.leases.get(key)?.spec ?? {})));
  });

  it('update() keeps the metadata that other programs have set', async () => {
    await using test = await started();
    const foreign = {
      labels: { team: 'a' },
      annotations: { 'example.com/note': 'keep' },
      finalizers: ['example.com/hold'],
    };
    test.api.put(key, { holderIdentity: 'cp1_x' }, { ...foreign, managedFields: [{}] });
    const found = await test.lease.get(signal);
    assert.ok(found);
    await test.lease.update({ ...found, ...record }, signal);
    const stored = test.api.leases.get(key);
    assert.ok(stored);
    const { uid: _, name, resourceVersion, ...metadata } = stored.metadata;
    assert.deepEqual([name, resourceVersion], [place.name, '2']);
    assert.deepEqual(metadata, { ...foreign, namespace: place.namespace });
    assert.equal(stored.spec['holderIdentity'], 'cp1_x');
  });

  it('get() reads a Lease whose fields are missing', async () => {
    await using test = await started();
    test.api.put(key, { holderIdentity: '' });
    const { metadata: _, ...stored } = (await test.lease.get(signal)) ?? {};
    assert.deepEqual(stored, {
      resourceVersion: '1',
      durationSeconds: 0,
      acquireTime: 0,
      renewTime: 0,
      transitions: 0,
    });
  });

  it('get() rejects a Lease whose time is not a time', async () => {
    await using test = await started();
    test.api.put(key, { renewTime: 'yesterday' });
    const failure = await failureOf(test.lease.get(signal));
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.match(failure.message, /spec\.renewTime must be/);
  });
});
