import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseNodeInventory } from '../../src/config/node-inventory.ts';
import { hasCode } from '../../src/core/errors.ts';

const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: NodeInventory\n';

describe('parseNodeInventory()', () => {
  it('reads the names, addresses and ranges of each node', () => {
    const { nodes, digest } = parseNodeInventory(
      `${head}nodes:\n- {name: n1, names: [N1.], addresses: [10.100.0.2, "fd00::2"]}\n- {name: n2, cidrs: [10.101.0.0/16]}\n`,
      'nodes.yaml',
    );
    const n1 = nodes.get('n1');
    assert.deepEqual([...(n1?.names ?? [])], ['n1']);
    assert.deepEqual(
      n1?.addresses.map(({ prefix }) => prefix),
      [32, 128],
    );
    assert.equal(nodes.get('n2')?.cidrs.length, 1);
    assert.match(digest, /^[\da-f]{64}$/);
  });

  const problems: readonly (readonly [string, RegExp])[] = [
    ['nodes: [{names: [n1]}]', /nodes\[0\]\.name: is required/],
    ['nodes: [{name: N1}]', /nodes\[0\]\.name: expected the name of a Node, found "N1"/],
    ['nodes: [{name: n1, addresses: [x]}]', /nodes\[0\]\.addresses\[0\]: expected an IP address/],
    ['nodes: [{name: n1}, {name: n1}]', /nodes: expected each name once/],
    ['nodes: [{name: n1, address: 10.0.0.1}]', /unknown key; did you mean "addresses"/],
  ];
  for (const [text, message] of problems) {
    it(`rejects ${text}`, () => {
      assert.throws(
        () => parseNodeInventory(head + text, 'nodes.yaml'),
        (error) => hasCode(error, 'CONFIG_INVALID') && message.test(error.message),
      );
    });
  }
});
