import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { verifyTable } from '../../src/cli/ca-rollover-verify.ts';
import type { GateReason } from '../../src/trust/cluster/gate.ts';

const hidden: GateReason = {
  state: 'unknown',
  message: '1 of 2 other control-plane nodes: the Node has no annotation',
  objects: ['cp2'],
};

describe('verifyTable()', () => {
  it('says that all control-plane nodes are the same', () => {
    assert.equal(
      verifyTable({ reasons: [], notCompared: [] }),
      'The files of this node are consistent, and all control-plane nodes have the same CAs\n',
    );
  });

  it('lists the control-plane nodes that it could not compare', () => {
    assert.equal(
      verifyTable({ reasons: [], notCompared: [hidden] }),
      `The files of this node are consistent, and all API servers have the same CAs
Not compared: 1 of 2 other control-plane nodes: the Node has no annotation (cp2)
     → Run this command there too
`,
    );
  });

  it('shows each reason with its remedy', () => {
    const reason = { state: 'waiting', message: 'ca.crt differs', remedy: 'Write it' } as const;
    assert.equal(
      verifyTable({ reasons: [reason], notCompared: [] }),
      '   waiting: ca.crt differs\n     → Write it\n',
    );
  });
});
