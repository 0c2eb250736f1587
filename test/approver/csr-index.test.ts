import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CsrIndex } from '../../src/approver/csr-index.ts';
import type { CsrReference } from '../../src/approver/facts.ts';

function reference(name: string, parts: Partial<CsrReference> = {}): CsrReference {
  return { name, node: 'n1', createdAt: 1, resourceVersion: '1', ...parts };
}

describe('CsrIndex', () => {
  it('finds the newest CSR of a node, by creation time and then by version', () => {
    const index = new CsrIndex();
    index.put(reference('b', { resourceVersion: '10' }), 'k1');
    index.put(reference('a', { resourceVersion: '9' }), 'k2');
    assert.equal(index.newest('n1')?.name, 'b');
    index.put(reference('c', { createdAt: 2 }), 'k3');
    assert.equal(index.newest('n1')?.name, 'c');
    index.remove('c');
    assert.equal(index.newest('n1')?.name, 'b');
    assert.equal(index.newest('n2'), undefined);
  });

  it('keeps the order of two CSRs when the older one is decided', () => {
    const index = new CsrIndex();
    index.put(reference('old', { resourceVersion: '5' }), 'k1');
    index.put(reference('new', { resourceVersion: '6' }), 'k2');
    index.put(reference('old', { resourceVersion: '7' }), 'k1');
    assert.equal(index.newest('n1')?.name, 'new');
  });

  it('finds every use of a key until the CSRs are gone', () => {
    const index = new CsrIndex();
    index.put(reference('a'), 'key');
    index.put(reference('b', { node: 'n2' }), 'key');
    index.put(reference('malformed'), undefined);
    const names = (): string[] => [...index.keyUses('key')].map(({ name }) => name);
    assert.deepEqual(names(), ['a', 'b']);
    index.remove('a');
    assert.deepEqual(names(), ['b']);
    index.remove('b');
    assert.deepEqual([names(), [...index.names()], index.size], [[], ['malformed'], 1]);
  });

  it('replaces a CSR that was deleted and created again under its name', () => {
    const index = new CsrIndex();
    index.put(reference('a'), 'k1');
    index.put(reference('a', { node: 'n2', createdAt: 9 }), 'k2');
    assert.equal(index.newest('n1'), undefined);
    assert.equal(index.newest('n2')?.name, 'a');
    assert.deepEqual([...index.keyUses('k1')], []);
  });
});
