import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MachineIndex } from '../../src/approver/machine-index.ts';
import type { Machine } from '../../src/approver/sources/machine-source.ts';

function machine(changes: Partial<Machine> = {}): Machine {
  return {
    name: 'default/m1',
    resourceVersion: '1',
    nodeName: 'n1',
    providerId: 'test://n1',
    addresses: [],
    ...changes,
  };
}

function namesOf(machines: readonly Machine[]): string[] {
  return machines.map(({ name }) => name);
}

describe('MachineIndex', () => {
  it('finds the Machines of a Node, also two of them', () => {
    const index = new MachineIndex();
    index.put(machine());
    index.put(machine({ name: 'other/m1' }));
    index.put(machine({ name: 'default/m2', nodeName: 'n2' }));
    assert.deepEqual(namesOf(index.ofNode('n1')), ['default/m1', 'other/m1']);
    index.remove('default/m1');
    assert.deepEqual(namesOf(index.ofNode('n1')), ['other/m1']);
    assert.deepEqual(index.ofNode('n3'), []);
  });

  it('names both Nodes when a nodeRef changes', () => {
    const index = new MachineIndex();
    assert.deepEqual(index.put(machine()), ['n1']);
    assert.deepEqual(index.put(machine({ nodeName: 'n2' })), ['n1', 'n2']);
    assert.deepEqual(index.ofNode('n1'), []);
    assert.deepEqual(index.remove('default/m1'), ['n2']);
    assert.deepEqual(index.remove('default/m1'), []);
  });

  it('names no Node if only the version changes, or the Machine has no Node', () => {
    const index = new MachineIndex();
    index.put(machine());
    assert.deepEqual(index.put(machine({ resourceVersion: '2' })), []);
    assert.equal(index.ofNode('n1')[0]?.resourceVersion, '2');
    assert.deepEqual(index.put(machine({ name: 'default/m2', nodeName: '' })), []);
  });

  it('is unavailable until it is complete, and after a failure', () => {
    const index = new MachineIndex();
    assert.match(index.unavailable?.reason ?? '', /not been read yet/);
    index.complete();
    assert.equal(index.unavailable, undefined);
    index.fail({ code: 'API_TIMEOUT', message: 'no answer', remedy: 'Start it' });
    const reason = 'the Machines cannot be read: no answer';
    assert.deepEqual(index.unavailable, { reason, remedy: 'Start it' });
  });

  it('is unavailable while it is outdated, and keeps the reason of a failure', () => {
    const index = new MachineIndex();
    index.complete();
    index.outdated();
    assert.match(index.unavailable?.reason ?? '', /are being read again/);
    index.fail({ code: 'API_TIMEOUT', message: 'no answer' });
    index.outdated();
    assert.match(index.unavailable?.reason ?? '', /no answer$/);
  });
});
