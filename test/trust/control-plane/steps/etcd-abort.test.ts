import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gatesBack } from '../../../../src/trust/control-plane/steps/etcd-abort.ts';
import type { Judged } from '../../../../src/trust/control-plane/steps/etcd.ts';
import type { GateOptions } from '../../../../src/trust/control-plane/steps/step-cluster.ts';
import { memberNamed, probeOf } from '../etcd/member-probe.ts';

const members = ['m1', 'm2', 'm3'].map(memberNamed);
const [m1, m2] = members;

const options: GateOptions = {
  keyFiles: [],
  confirmed: {},
  dial: false,
  auditLogs: [],
  onWait: () => undefined,
};

/** The members, of which one may serve a certificate from the new CA. */
function judged(serving: 'old' | 'next' = 'old', changed: Partial<Judged['view']> = {}): Judged {
  const probes = members.map((member) =>
    probeOf(member, 'peer', {
      serves: member === m2 ? serving : 'old',
      accepts: ['old', 'next'],
    }),
  );
  return { view: { members, problems: [], probes, own: 'm1', ...changed }, restarts: ['etcd'] };
}

/** As in `E3 waiting`. */
function states(...[question, found]: Parameters<typeof gatesBack>): string[] {
  return gatesBack(question, found).map(({ id, state }) => `${id} ${state}`);
}

describe('gatesBack()', () => {
  it('after trust needs what finish needs, with the CAs swapped', () => {
    const trusted = { latest: 'trust', options } as const;
    assert.deepEqual(states(trusted, judged()), ['E1 open', 'E3 open', 'E4 waiting']);
    assert.deepEqual(states(trusted, judged('next')), ['E1 open', 'E3 waiting', 'E4 waiting']);
    const confirmed = { ...options, confirmed: { clients: true } };
    assert.deepEqual(states({ ...trusted, options: confirmed }, judged()), [
      'E1 open',
      'E3 open',
      'E4 open',
    ]);
  });

  it('after create does not ask for the clients, because nothing on this node trusts the new CA', () => {
    assert.deepEqual(states({ latest: 'create', options }, judged()), ['E1 open', 'E3 open']);
  });

  it('after switch needs the other members, and no certificate from the old CA', () => {
    const switched = { latest: 'switch', options } as const;
    assert.deepEqual(states(switched, judged('next')), ['E1 open']);
    assert.ok(m1 !== undefined && m2 !== undefined);
    const down = { member: m2, message: 'the etcd member m2 does not answer' };
    assert.deepEqual(states(switched, judged('next', { problems: [down] })), ['E1 waiting']);
    const own = { member: m1, message: 'the etcd member m1 does not answer' };
    assert.deepEqual(states(switched, judged('next', { problems: [own] })), ['E1 open']);
  });

  it('needs the acceptance of an interruption only if etcd restarts', () => {
    const pair = { latest: 'create', options } as const;
    const two = judged('old', { members: members.slice(1) });
    assert.deepEqual(states(pair, two), ['E1 waiting', 'E3 open']);
    assert.deepEqual(states(pair, { ...two, restarts: [] }), ['E1 open', 'E3 open']);
  });
});
