import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour } from '../../../../src/core/instant.ts';
import type { ClientUse, Confirmed, Gate } from '../../../../src/trust/cluster/gate.ts';
import { judgeDroppable } from '../../../../src/trust/cluster/gates/droppable.ts';
import type { CaHolder, CaHolderKind } from '../../../../src/trust/cluster/state.ts';
import { caHolderKinds } from '../../../../src/trust/cluster/state.ts';
import {
  both,
  clusterState,
  forbidden,
  gateInput,
  lines,
  now,
  onlyNext,
  onlyOld,
  read,
} from '../../../support/rollover-state.ts';

const confirmed = { clients: true };

function holding(
  kind: CaHolderKind,
  ...holders: readonly CaHolder[]
): ReturnType<typeof clusterState>['holders'] {
  return { ...clusterState().holders, [kind]: read(holders) };
}

describe('judgeDroppable()', () => {
  for (const kind of caHolderKinds) {
    it(`names each ${kind} that has the old CA alone`, () => {
      const holders = holding(
        kind,
        { name: 'behind', ...onlyOld },
        { name: 'ready', ...both },
        { name: 'done', ...onlyNext },
      );
      const gate = judgeDroppable(gateInput({ holders }, { confirmed }), []);
      const [reason] = gate.reasons;
      assert.equal(gate.state, 'waiting');
      assert.match(reason?.message ?? '', /^1 of 3 .* have the old CA and lack the new CA$/);
      assert.deepEqual(reason?.objects, [`${kind}/behind`]);
    });

    it(`is unknown for a credential that may not list: ${kind}`, () => {
      const holders = { ...clusterState().holders, [kind]: forbidden };
      const gate = judgeDroppable(gateInput({ holders }, { confirmed }), []);
      assert.equal(gate.state, 'unknown');
    });
  }

  it('waits for the gates before it', () => {
    const earlier: Gate[] = [
      { id: 'G5', state: 'open', reasons: [] },
      { id: 'G6', state: 'unknown', reasons: [] },
      { id: 'G7', state: 'harmful', reasons: [] },
    ];
    assert.deepEqual(lines(judgeDroppable(gateInput({}, { confirmed }), earlier).reasons), [
      'waiting G7 (reissued) is not open',
      'unknown G6 (serving) is not open',
    ]);
  });

  const quiet: ClientUse = {
    from: now - 2 * day,
    clients: [{ user: 'backup', lastSeen: now - 25 * hour }],
  };
  const cases: Readonly<
    Record<string, readonly [ClientUse | undefined, Confirmed, readonly string[]]>
  > = {
    'is unknown without an audit log': [
      undefined,
      {},
      ['unknown cannot see whether a client still uses a certificate from the old CA'],
    ],
    'accepts the confirmation of the administrator': [undefined, { clients: true }, []],
    'is open after a day without a client of the old CA': [quiet, {}, []],
    'names the clients of the last day': [
      { ...quiet, clients: [{ user: 'backup', lastSeen: now - 23 * hour }] },
      {},
      [
        'waiting 1 client used a certificate that the new CA did not issue within the last 1d [backup]',
      ],
    ],
    'follows --quiet': [
      quiet,
      { quietMs: 26 * hour },
      [
        'waiting 1 client used a certificate that the new CA did not issue within the last 1d 2h [backup]',
      ],
    ],
    'waits for an audit log that is long enough': [
      { from: now - hour, clients: [] },
      {},
      ['waiting the audit log covers the last 1h, and has to cover 1d'],
    ],
  };
  for (const [name, [clients, flags, expected]] of Object.entries(cases)) {
    it(name, () => {
      const others = { confirmed: flags, ...(clients !== undefined && { clients }) };
      assert.deepEqual(lines(judgeDroppable(gateInput({}, others), []).reasons), expected);
    });
  }
});
