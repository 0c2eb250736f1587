import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import type { Source } from '../../../src/approver/facts.ts';
import {
  MachineIndex,
  machineIndexOf,
  unreadMachines,
} from '../../../src/approver/machine-index.ts';
import { inventorySource } from '../../../src/approver/sources/inventory-source.ts';
import type { Machine } from '../../../src/approver/sources/machine-source.ts';
import { machineSchema, machineSource } from '../../../src/approver/sources/machine-source.ts';
import { parseNodeInventory } from '../../../src/config/node-inventory.ts';
import { minute } from '../../../src/core/instant.ts';
import type { Situation } from '../cluster.ts';
import { createdAt, decide, n1Addresses, node } from '../cluster.ts';

function check(title: string, cases: readonly (readonly [string, string, Situation])[]): void {
  describe(title, () => {
    for (const [name, expected, situation] of cases) {
      it(`${name}: ${expected}`, () => {
        const { outcome, code, message } = decide({ situation });
        assert.equal(`${outcome} ${code}`, expected, message);
        assert.match(message, /; sources node, (?:inventory|machine); policy /);
      });
    }
  });
}

function inventory(nodes: string): Source {
  const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: NodeInventory\nnodes: ';
  return inventorySource(parseNodeInventory(head + nodes, 'nodes.yaml'));
}

const passed = 'approve ServingPolicyPassed';
const older = node({ name: 'n2', createdAt: createdAt - 5 * minute });
const both =
  '[{name: n1, names: [n1], cidrs: [10.0.0.0/8]}, {name: n2, names: [n1], cidrs: [10.0.0.0/8]}]';

check('inventorySource()', [
  [
    'names and addresses',
    passed,
    { sources: [inventory('[{name: n1, names: [N1.], addresses: [10.100.0.2]}]')] },
  ],
  [
    'a range',
    passed,
    { sources: [inventory('[{name: n1, names: [n1], cidrs: [10.100.0.0/24]}]')] },
  ],
  ['another node', 'hold SourceDisagrees', { sources: [inventory('[{name: n2}]')] }],
  [
    'an address is missing',
    'hold SourceDisagrees',
    { sources: [inventory('[{name: n1, names: [n1]}]')] },
  ],
  [
    'a name is missing',
    'hold SourceDisagrees',
    { sources: [inventory('[{name: n1, addresses: [10.100.0.2]}]')] },
  ],
  ['no valid file', 'hold SourceUnavailable', { sources: [inventorySource(undefined)] }],
  [
    'another Node claims the address, and the inventory confirms this one',
    passed,
    {
      nodes: [node(), older],
      sources: [inventory('[{name: n1, names: [n1], addresses: [10.100.0.2]}]')],
    },
  ],
  [
    'another Node claims the address, and the inventory confirms that one',
    'hold AddressConflict',
    {
      nodes: [node(), node({ name: 'n2', createdAt })],
      sources: [inventory('[{name: n2, names: [n1], addresses: [10.100.0.2]}]')],
    },
  ],
  [
    'an older Node claims the address, and ranges confirm both',
    'hold AddressConflict',
    { nodes: [node(), older], sources: [inventory(both)] },
  ],
]);

function machines(...changes: readonly Partial<Machine>[]): Source {
  const found = changes.map((change, index): Machine => ({
    name: `default/machine-${index}`,
    resourceVersion: '7',
    nodeName: 'n1',
    providerId: 'aws:///i-1',
    addresses: n1Addresses,
    ...change,
  }));
  return machineSource(machineIndexOf(found));
}

const nodes = [node({ providerId: 'aws:///i-1' })];

check('machineSource()', [
  ['one Machine', passed, { nodes, sources: [machines({})] }],
  ['no Machine', 'hold SourceDisagrees', { nodes, sources: [machines()] }],
  ['two Machines', 'hold SourceDisagrees', { nodes, sources: [machines({}, {})] }],
  [
    'a nodeRef to another Node',
    'hold SourceDisagrees',
    { nodes, sources: [machines({ nodeName: 'n2' })] },
  ],
  [
    'another providerID',
    'hold SourceDisagrees',
    { nodes, sources: [machines({ providerId: 'aws:///i-2' })] },
  ],
  [
    'no providerID on either side',
    'hold SourceDisagrees',
    { nodes: [node()], sources: [machines({ providerId: '' })] },
  ],
  ['no addresses yet', 'hold SourceDisagrees', { nodes, sources: [machines({ addresses: [] })] }],
  [
    'Machines that have not been read',
    'hold SourceUnavailable',
    { nodes, sources: [machineSource(new MachineIndex())] },
  ],
  [
    'Machines that cannot be read',
    'hold SourceUnavailable',
    { nodes, sources: [machineSource(unreadMachines({ code: 'API_TIMEOUT', message: 'x' }))] },
  ],
]);

describe('versionOf()', () => {
  it('names the Machine of the Node, for the annotation and for explain', () => {
    assert.equal(machines({}).versionOf('n1'), 'default/machine-0@7');
    assert.equal(machines({}).versionOf('n2'), 'none');
    assert.equal(machineSource(new MachineIndex()).versionOf('n1'), 'unavailable');
  });

  it('is the digest of the inventory', () => {
    assert.match(inventory('[{name: n2}]').versionOf('n1'), /^[\da-f]{12,}$/);
    assert.equal(inventorySource(undefined).versionOf('n1'), 'none');
  });
});

describe('machineSchema', () => {
  it('reads a Machine, and one without a Node', () => {
    const metadata = { name: 'm', namespace: 'default', resourceVersion: '7' };
    const identity = { name: 'default/m', resourceVersion: '7' };
    const full = v.parse(machineSchema, {
      metadata,
      spec: { providerID: 'aws:///i-1' },
      status: { nodeRef: { name: 'n1' }, addresses: n1Addresses },
    });
    assert.deepEqual(full, {
      ...identity,
      nodeName: 'n1',
      providerId: 'aws:///i-1',
      addresses: n1Addresses,
    });
    assert.deepEqual(v.parse(machineSchema, { metadata }), {
      ...identity,
      nodeName: '',
      providerId: '',
      addresses: [],
    });
  });
});
