import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseComponentFlags } from '../../../src/pki/components/component-flags.ts';
import type { ControlPlaneNode } from '../../../src/trust/control-plane/control-plane-nodes.ts';
import type { MirrorPod } from '../../../src/trust/control-plane/mirror-pods.ts';
import type { AwaitedPlane } from '../../../src/trust/control-plane/node-order.ts';
import {
  exceptedNotes,
  nodesBehind,
  nodesWithoutOld,
} from '../../../src/trust/control-plane/node-order.ts';

const old = 'a'.repeat(16);
const next = 'b'.repeat(16);

function node(name: string, ...authorities: readonly string[]): ControlPlaneNode {
  const report = { authorities, leaves: {}, startedAt: {}, reportedAt: 0 };
  return { name, isReady: true, addresses: [], report };
}

function planeOf(others: readonly ControlPlaneNode[], pods: readonly MirrorPod[]): AwaitedPlane {
  const managerFlags = new Map([['root-ca-file', '/ca-bundle.crt']]);
  const serverFlags = new Map([['client-ca-file', '/ca-clients.crt']]);
  return {
    others,
    pods,
    isLeader: false,
    managerFlags: { section: 'controllerManager', flags: managerFlags },
    serverFlags: { section: 'apiServer', flags: serverFlags },
    keepsAbsentNodes: false,
  };
}

function podOf(nodeName: string, component: string, ...flags: readonly string[]): MirrorPod {
  const name = `${component}-${nodeName}`;
  return { name, node: nodeName, component, flags: parseComponentFlags(flags), isReady: true };
}

describe('nodesBehind()', () => {
  const silent = { name: 'silent', isReady: true, addresses: [] };
  const others = [node('created', old), node('trusted', old, next), node('done', next), silent];

  it('relies on the reports of nodes whose components are units', () => {
    const plane = planeOf(others, []);
    assert.deepEqual(nodesBehind('trust', plane), ['created', 'done', 'silent']);
    assert.deepEqual(nodesBehind('finish', plane), ['trusted']);
  });

  it('relies on the flags of a static pod instead', () => {
    const plane = planeOf(others, [podOf('trusted', 'kube-controller-manager')]);
    assert.deepEqual(nodesBehind('finish', plane), []);
  });

  it('names the nodes that keep absent nodes, unless this step keeps them', () => {
    const plane = planeOf(
      [node('done', next), node('kept', next)],
      [
        podOf('done', 'kube-apiserver', '--client-ca-file=/ca.crt'),
        podOf('kept', 'kube-apiserver', '--client-ca-file=/ca-clients.crt'),
      ],
    );
    assert.deepEqual(nodesBehind('finish', plane), ['kept']);
    assert.deepEqual(nodesBehind('finish', { ...plane, keepsAbsentNodes: true }), []);
    assert.deepEqual(nodesWithoutOld(plane), ['done']);
  });
});

describe('exceptedNotes()', () => {
  it('names an excepted Node on which the step is not done', () => {
    assert.deepEqual(exceptedNotes(['cp2', 'cp3'], new Set(['cp3', 'cp4'])), [
      'The Node cp3 is Ready, so run this step there too, although --except names it. The changes of the last node follow after that.',
    ]);
    assert.deepEqual(exceptedNotes(['cp2']), []);
  });
});
