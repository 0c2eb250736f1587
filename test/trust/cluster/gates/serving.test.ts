import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServedLeaf } from '../../../../src/trust/cluster/served-leaf.ts';
import { judgeServing } from '../../../../src/trust/cluster/gates/serving.ts';

const byNext: ServedLeaf = { issuedBy: 'next', hasBridge: true };
const byOld: ServedLeaf = { issuedBy: 'old', hasBridge: false };
const byOther: ServedLeaf = { issuedBy: 'other', hasBridge: false };
const silent: ServedLeaf = { issuedBy: 'unreadable', reason: 'no TLS handshake within 5 s' };

const cases: readonly (readonly [
  name: string,
  served: readonly ServedLeaf[],
  state: string,
  reasons: readonly RegExp[],
])[] = [
  ['is open if each server serves the new CA', [byNext, byNext], 'open', []],
  ['waits for a server with the old CA', [byNext, byOld], 'waiting', [/by the old CA$/]],
  ['waits for a server with a third CA', [byOther, byNext], 'waiting', [/by neither CA$/]],
  ['is unknown for a silent server', [byNext, silent], 'unknown', [/on cp2 .*no TLS handshake/]],
  [
    'names a silent server after one that waits',
    [silent, byOld],
    'waiting',
    [/by the old CA$/, /on cp1 could not be read/],
  ],
];

describe('judgeServing()', () => {
  for (const [name, served, state, reasons] of cases) {
    it(name, () => {
      const gate = judgeServing(
        served.map((leaf, at) => ({
          server: { name: `cp${at + 1}`, host: '10.0.0.1', port: 6443 },
          served: leaf,
        })),
      );
      assert.equal(gate.state, state);
      assert.equal(gate.reasons.length, reasons.length);
      for (const [at, message] of reasons.entries()) {
        assert.match(gate.reasons[at]?.message ?? '', message);
      }
    });
  }
});
