import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneNode } from '../../../../src/trust/control-plane/control-plane-nodes.ts';
import { abortElsewhere } from '../../../../src/trust/control-plane/steps/abort-elsewhere.ts';
import type { Stage } from '../../../../src/trust/control-plane/task.ts';

function nodeNamed(name: string, etcdNext?: string): ControlPlaneNode {
  const report = {
    authorities: [],
    leaves: {},
    startedAt: {},
    reportedAt: 0,
    ...(etcdNext !== undefined && { etcdNext }),
  };
  return { name, isReady: true, addresses: [], report };
}

const others = [nodeNamed('cp2', 'e'.repeat(16)), nodeNamed('cp3')];
const abort = 'nodecertd ca-rollover apply abort --ca etcd';

function commands(latest: Stage, ...switched: readonly string[]): string[] {
  return abortElsewhere({ latest, ca: 'etcd' }, { others, switched });
}

describe('abortElsewhere()', () => {
  it('has the nodes that still have a new CA', () => {
    assert.deepEqual(commands('trust'), [`${abort} # on cp2`]);
  });

  it('has the nodes with a certificate from the new CA, and then the next call', () => {
    assert.deepEqual(commands('switch', 'cp3'), [`${abort} # on cp3`]);
    assert.deepEqual(commands('switch'), [`${abort} # again, on each control-plane node`]);
  });
});
