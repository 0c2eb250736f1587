import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ApiObject } from './api-object.ts';
import type { ChangeEvent } from './object-store.ts';
import { ObjectStore, Revisions } from './object-store.ts';
import { StatusError } from './status-error.ts';

function object(name: string): ApiObject {
  const metadata = { name, uid: `uid-${name}`, resourceVersion: '', creationTimestamp: '' };
  return { apiVersion: 'v1', kind: 'Thing', metadata };
}

function summary({ type, object: { metadata } }: ChangeEvent): string {
  return `${type} ${metadata.name} ${metadata.resourceVersion}`;
}

function store(historyLimit = 10, revisions = new Revisions()): ObjectStore<ApiObject> {
  return new ObjectStore(revisions, historyLimit);
}

describe('ObjectStore', () => {
  it('uses one counter of resourceVersions for all collections', () => {
    const revisions = new Revisions();
    const [things, others] = [store(10, revisions), store(10, revisions)];
    const versions = [things.put(object('a')), others.put(object('b')), things.put(object('a'))];
    assert.deepEqual(
      versions.map(({ metadata }) => metadata.resourceVersion),
      ['2', '3', '4'],
    );
    assert.equal(things.revision, 4);
    assert.equal(others.revision, 4);
  });

  it('lists by name', () => {
    const things = store();
    for (const name of ['c', 'a', 'b']) things.put(object(name));
    assert.deepEqual(
      things.list().map(({ metadata }) => metadata.name),
      ['a', 'b', 'c'],
    );
  });

  it('notifies listeners of each change until they stop', () => {
    const things = store();
    const heard: string[] = [];
    const stop = things.listen((event) => heard.push(summary(event)));
    things.put(object('a'));
    things.put(object('a'));
    things.delete('a');
    stop();
    things.put(object('a'));
    assert.deepEqual(heard, ['ADDED a 2', 'MODIFIED a 3', 'DELETED a 4']);
  });

  it('notifies no listener when there is nothing to delete', () => {
    const things = store();
    things.listen(() => assert.fail('a change was published'));
    assert.equal(things.delete('a'), undefined);
  });

  describe('since()', () => {
    it('returns the changes after a resourceVersion', () => {
      const things = store();
      for (const name of ['a', 'b', 'c']) things.put(object(name));
      assert.deepEqual(things.since(2).map(summary), ['ADDED b 3', 'ADDED c 4']);
      assert.deepEqual(things.since(4), []);
      assert.deepEqual(things.since(99), []);
    });

    it('rejects only a resourceVersion older than the history', () => {
      const things = store(2);
      for (const name of ['a', 'b', 'c', 'd']) things.put(object(name));
      assert.deepEqual(things.since(3).map(summary), ['ADDED c 4', 'ADDED d 5']);
      assert.throws(
        () => things.since(2),
        (error) => {
          assert.ok(error instanceof StatusError);
          assert.equal(error.status.reason, 'Expired');
          assert.equal(error.status.code, 410);
          return true;
        },
      );
    });

    it('ignores the changes of other collections', () => {
      const revisions = new Revisions();
      const [things, others] = [store(2, revisions), store(2, revisions)];
      things.put(object('a'));
      for (const name of ['b', 'c', 'd', 'e']) others.put(object(name));
      assert.deepEqual(things.since(1).map(summary), ['ADDED a 2']);
    });
  });
});
