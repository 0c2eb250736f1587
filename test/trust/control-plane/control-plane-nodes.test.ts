import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneNode } from '../../../src/trust/control-plane/control-plane-nodes.ts';
import { awaitedNodes, withOwn } from '../../../src/trust/control-plane/control-plane-nodes.ts';

function controlPlane(name: string): ControlPlaneNode {
  return { name, isReady: true, addresses: [`10.0.0.${name.at(-1)}`] };
}

describe('withOwn()', () => {
  const nodes = [controlPlane('cp1'), controlPlane('cp2')];
  const cases = [
    ['its name', 'cp2', [], 'cp2'],
    ['an address', 'cp2.example.com', ['10.0.0.2'], 'cp2'],
    ['nothing', 'elsewhere', ['192.0.2.1'], undefined],
  ] as const;
  for (const [by, hostName, addresses, expected] of cases) {
    it(`finds the Node of this machine by ${by}`, () => {
      const { own, others } = withOwn(nodes, { hostName, addresses: new Set(addresses) });
      assert.equal(own?.name, expected);
      assert.equal(others.length, expected === undefined ? 2 : 1);
    });
  }
});

describe('awaitedNodes()', () => {
  const report = { authorities: [], leaves: {}, startedAt: {}, reportedAt: 0 };
  const cp1 = { ...controlPlane('cp1'), report };
  const cp2 = { ...controlPlane('cp2'), report };
  const cp3 = { ...controlPlane('cp3'), isReady: false, report };

  it('is every Node, if none is excepted', () => {
    assert.deepEqual(awaitedNodes([cp1, cp3]), { others: [cp1, cp3], away: [] });
  });

  it('ignores the report of an excepted Node, and the Node too if it is not Ready', () => {
    assert.deepEqual(awaitedNodes([cp1, cp2, cp3], new Set(['cp2', 'cp3'])), {
      others: [cp1, controlPlane('cp2')],
      away: [cp3],
    });
  });
});
