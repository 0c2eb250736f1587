import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  rolloverDocument,
  rolloverExitCode,
  rolloverTable,
} from '../../src/cli/ca-rollover-report.ts';
import type { Gate, GateId, GateState } from '../../src/trust/cluster/gate.ts';
import { gateNames } from '../../src/trust/cluster/gate.ts';
import { clusterState, node, now, read } from '../support/rollover-state.ts';
import { rolloverView } from './rollover-views.ts';

const ids = Object.keys(gateNames) as GateId[];

/** All gates. They are open unless listed here. */
function gates(closed: Partial<Record<GateId, Exclude<GateState, 'open'>>>): Gate[] {
  return ids.map((id) => {
    const state = closed[id];
    if (state === undefined) return { id, state: 'open', reasons: [] };
    const objects = Array.from({ length: 25 }, (_, at) => `worker-${at + 1}`);
    const reason = { state, message: 'nodes are behind', remedy: 'Wait', objects };
    return { id, state, reasons: [reason] };
  });
}

const cases: readonly (readonly [
  name: string,
  closed: Parameters<typeof gates>[0],
  code: number,
  safe: object,
  summary: RegExp,
])[] = [
  ['all open', {}, 0, { switch: true, finish: true }, /The old CA can be removed$/],
  [
    'before the switch',
    { G3: 'waiting', G5: 'waiting', G8: 'waiting' },
    3,
    { switch: false, finish: false },
    /The new CA cannot be used everywhere yet$/,
  ],
  [
    'ready for the switch',
    { G5: 'waiting', G7: 'unknown' },
    3,
    { switch: true, finish: false },
    /The new CA can be used; the old CA is still needed$/,
  ],
  [
    'a failure',
    { G3: 'harmful', G5: 'waiting' },
    4,
    { switch: false, finish: false },
    /Something fails now, .*: G3 nodes$/,
  ],
];

describe('rolloverExitCode(), rolloverDocument() and rolloverTable()', () => {
  for (const [name, closed, code, safe, summary] of cases) {
    it(`agree about ${name}`, () => {
      const view = rolloverView(gates(closed));
      assert.equal(rolloverExitCode(view.gates), code);
      const document = rolloverDocument(view) as { readonly safe: unknown };
      assert.deepEqual(document.safe, safe);
      assert.match(rolloverTable(view).trimEnd(), summary);
    });
  }

  it('shows 20 objects of a reason in the table, and all in the document', () => {
    const view = rolloverView(gates({ G3: 'waiting' }));
    const table = rolloverTable(view);
    assert.match(table, /^G3 nodes +waiting\n {3}waiting: nodes are behind\n/m);
    assert.match(table, /worker-19, worker-20 and 5 more \(all: -o json\)\n {5}→ Wait/);
    assert.match(JSON.stringify(rolloverDocument(view)), /"worker-25"/);
  });

  it('says that a cluster with one CA has no rollover', () => {
    const view = rolloverView([]);
    assert.equal(rolloverExitCode(view.gates), 0);
    assert.match(
      rolloverTable(view),
      /^CA +CN=[^]*no rollover of the CA kubernetes is in progress\n$/m,
    );
  });

  it('names the nodes on which another CA is in rollover', () => {
    const report = { authorities: [], leaves: {}, startedAt: {}, reportedAt: now };
    const cp1 = node('cp1', { controlPlane: { ...report, etcdNext: 'a1b2c3d4a1b2c3d4' } });
    const state = clusterState({ nodes: read([node('worker-1'), cp1]) });
    const view = { ...rolloverView([]), state };
    assert.match(
      rolloverTable(view),
      /A rollover of the CA etcd is in progress\. .* --ca etcd --dry-run\n {5}cp1\n$/,
    );
    const { furtherRollovers } = rolloverDocument(view) as { readonly furtherRollovers: unknown };
    assert.deepEqual(furtherRollovers, [{ ca: 'etcd', nodes: ['cp1'] }]);
  });
});
