import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneNode } from '../../../src/trust/control-plane/control-plane-nodes.ts';
import { nodesBehind } from '../../../src/trust/control-plane/node-order.ts';

const old = 'a'.repeat(16);
const next = 'b'.repeat(16);

function node(name: string, ...authorities: readonly string[]): ControlPlaneNode {
  const report = { authorities, leaves: {}, startedAt: {}, reportedAt: 0 };
  return { name, isReady: true, addresses: [], report };
}

describe('nodesBehind()', () => {
  const silent = { name: 'silent', isReady: true, addresses: [] };
  const others = [node('created', old), node('trusted', old, next), node('done', next), silent];

  it('relies on the reports of nodes whose components are units', () => {
    const plane = { others, pods: [], flags: new Map([['root-ca-file', '/ca-bundle.crt']]) };
    assert.deepEqual(nodesBehind('trust', plane), ['created', 'done', 'silent']);
    assert.deepEqual(nodesBehind('finish', plane), ['trusted']);
  });

  it('relies on the flags of a static pod instead', () => {
    const flags = new Map([['root-ca-file', '/ca-bundle.crt']]);
    const pod = {
      name: 'kube-controller-manager-trusted',
      node: 'trusted',
      component: 'kube-controller-manager',
      flags: [],
      isReady: true,
    };
    assert.deepEqual(nodesBehind('finish', { others, pods: [pod], flags }), []);
  });
});
