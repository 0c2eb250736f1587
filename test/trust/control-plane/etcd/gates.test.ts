import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  conflictReason,
  notServing,
  peerConflicts,
  rejectingOld,
  repairs,
  untrusting,
} from '../../../../src/trust/control-plane/etcd/gates.ts';
import {
  interruptionReasons,
  memberReasons,
} from '../../../../src/trust/control-plane/steps/etcd.ts';
import { memberNamed, probeOf } from './member-probe.ts';

const [m1, m2, m3] = [memberNamed('m1'), memberNamed('m2'), memberNamed('m3')];

describe('peerConflicts()', () => {
  it('is empty while each member accepts what the others serve', () => {
    const probes = [
      probeOf(m1, 'peer', { serves: 'next', accepts: ['old', 'next'] }),
      probeOf(m2, 'peer', { serves: 'old', accepts: ['old', 'next'] }),
    ];
    assert.deepEqual(peerConflicts(probes), []);
  });

  it('finds the peer that lacks the new CA, and the one that has dropped the old CA', () => {
    const probes = [
      probeOf(m1, 'peer', { serves: 'next', accepts: ['next'] }),
      probeOf(m1, 'client', { serves: 'next', accepts: ['next'] }),
      probeOf(m2, 'peer', { serves: 'old', accepts: ['old'] }),
      probeOf(m3, 'peer', { serves: 'next', accepts: ['old', 'next'] }),
    ];
    assert.deepEqual(peerConflicts(probes), [
      { serving: 'm1', by: 'next', rejecting: 'm2' },
      { serving: 'm2', by: 'old', rejecting: 'm1' },
      { serving: 'm3', by: 'next', rejecting: 'm2' },
    ]);
  });

  it('says nothing about a member that does not answer', () => {
    const probes = [
      probeOf(m1, 'peer', { serves: 'next', accepts: ['old', 'next'] }),
      probeOf(m2, 'peer', { serves: 'unreadable', accepts: 'failed' }),
    ];
    assert.deepEqual(peerConflicts(probes), []);
  });
});

describe('conflictReason()', () => {
  it('is harmful, and has the commands that end the conflict', () => {
    const reason = conflictReason({ serving: 'm1', by: 'next', rejecting: 'm2' });
    assert.equal(reason.state, 'harmful');
    assert.match(
      reason.remedy ?? '',
      /on m1, .*apply switch --ca etcd --undo; then run on m2: .*trust/,
    );
    const dropped = conflictReason({ serving: 'm2', by: 'old', rejecting: 'm1' });
    assert.match(
      dropped.remedy ?? '',
      /^Run on m2: .*switch --ca etcd; .*finish --ca etcd --undo$/,
    );
  });
});

describe('repairs()', () => {
  const lacksNew = { serving: 'm1', by: 'next', rejecting: 'm2' } as const;
  const lacksOld = { serving: 'm1', by: 'old', rejecting: 'm2' } as const;
  for (const [step, own, conflict, expected] of [
    ['trust', 'm2', lacksNew, true],
    ['trust', 'm1', lacksNew, false],
    ['switch', 'm1', lacksNew, false],
    ['switch', 'm1', lacksOld, true],
    ['switch', 'm2', lacksOld, false],
    ['trust', 'm1', lacksOld, false],
    ['undo finish', 'm2', lacksOld, true],
    ['undo finish', 'm1', lacksOld, false],
    ['undo trust', 'm2', lacksNew, false],
    ['undo switch', 'm1', lacksNew, true],
    ['undo switch', 'm2', lacksNew, false],
    ['undo switch', 'm1', lacksOld, false],
  ] as const) {
    it(`of ${step} on ${own} is ${expected} for a peer by the ${conflict.by} CA`, () => {
      assert.equal(repairs(step, own, conflict), expected);
    });
  }
});

describe('the gates of the CA of etcd', () => {
  it('E2 names the node whose member rejects the new CA, and a member without an answer', () => {
    const probes = [
      probeOf(m1, 'client', { serves: 'old', accepts: ['old', 'next'] }),
      probeOf(m2, 'client', { serves: 'old', accepts: ['old'] }),
      probeOf(m3, 'client', { serves: 'unreadable', accepts: 'failed' }),
    ];
    const [first, second] = untrusting(probes);
    assert.match(first?.message ?? '', /^the etcd member m2 at 127.0.0.1:2379 rejects/);
    assert.equal(first?.remedy, 'Run on m2: nodecertd ca-rollover apply trust --ca etcd');
    assert.equal(second?.state, 'unknown');
  });

  it('E3 is closed by the old CA, by another CA and by a port that does not answer', () => {
    const probes = (['next', 'old', 'other', 'unreadable'] as const).map((serves) =>
      probeOf(m1, 'peer', { serves, accepts: ['old', 'next'] }),
    );
    assert.deepEqual(
      notServing('next', probes).map(({ state, message }) => [
        state,
        message.split(' ').slice(-4).join(' '),
      ]),
      [
        ['waiting', 'from the old CA'],
        ['waiting', 'certificate from another CA'],
        ['unknown', 'answer a probe: refused'],
      ],
    );
  });

  it('E3 of abort is closed by the new CA, and names the step that ends it', () => {
    const probes = (['next', 'old'] as const).map((serves) =>
      probeOf(m1, 'peer', { serves, accepts: ['old', 'next'] }),
    );
    const [first, ...more] = notServing('old', probes);
    assert.match(first?.message ?? '', /serves a certificate from the new CA$/);
    assert.equal(first?.remedy, 'Run on m1: nodecertd ca-rollover apply abort --ca etcd');
    assert.deepEqual(more, []);
  });

  it('rejectingOld() has the ports that have dropped the old CA', () => {
    const probes = [
      probeOf(m1, 'peer', { serves: 'next', accepts: ['next'] }),
      probeOf(m2, 'peer', { serves: 'next', accepts: ['old', 'next'] }),
    ];
    assert.deepEqual(rejectingOld(probes), ['the etcd member m1 at 127.0.0.1:2380']);
  });
});

describe('memberReasons()', () => {
  const probes = [
    probeOf(m1, 'peer', { serves: 'next', accepts: ['old', 'next'] }),
    probeOf(m2, 'peer', { serves: 'old', accepts: ['old'] }),
  ];
  const view = { members: [m1, m2], probes, own: 'm2' };

  it('has the conflicts that the step does not end, then what is wrong with members', () => {
    const message = 'the etcd member m3 does not answer: connect ECONNREFUSED';
    const problems = [{ member: m3, message }];
    const states = (step: 'trust' | 'switch'): string[] =>
      memberReasons(step, { ...view, problems }, 'required').map(({ state }) => state);
    assert.deepEqual(states('switch'), ['harmful', 'waiting']);
    assert.deepEqual(states('trust'), ['waiting']);
  });

  it('names the commands that remove a member whose node is gone', () => {
    const problems = [
      { member: m2, message: 'the etcd member m2 is unhealthy' },
      { member: m3, message: 'the etcd member m3 does not answer' },
    ];
    const [own, other] = memberReasons('trust', { ...view, problems }, 'required');
    assert.match(own?.remedy ?? '', /^Find the reason: crictl logs /);
    assert.match(
      other?.remedy ?? '',
      /^Start its node if it is off, .* exec etcd-m2 -- etcdctl .* member remove fm3; kubectl delete node m3$/,
    );
  });

  const local = { message: 'etcd at 127.0.0.1:2379 does not answer' };
  const own = { member: m2, message: 'the etcd member m2 does not answer' };
  const other = { member: m1, message: 'the etcd member m1 does not answer' };

  for (const change of ['trust', 'undo trust', 'undo finish'] as const) {
    it(`allows ${change} to repair the member on this node if the others are healthy`, () => {
      const down = { ...view, probes: [], members: [m1, m2, m3], problems: [local, own] };
      assert.deepEqual(memberReasons(change, down, 'repaired'), []);
      const problems = [local, own, other];
      assert.deepEqual(
        memberReasons(change, { ...down, problems }, 'repaired').map(({ message }) => message),
        [other.message],
      );
    });
  }

  it('keeps all problems if the members are unknown, or if two have the name of this one', () => {
    const unknown = { ...view, probes: [], members: [], problems: [local] };
    assert.equal(memberReasons('trust', unknown, 'repaired').length, 1);
    const twins = { ...view, probes: [], members: [m2, m2], problems: [own] };
    assert.equal(memberReasons('trust', twins, 'repaired').length, 1);
  });

  it('has no conflict that the undo of finish ends', () => {
    const rejected = [
      probeOf(m1, 'peer', { serves: 'old', accepts: ['old', 'next'] }),
      probeOf(m2, 'peer', { serves: 'next', accepts: ['next'] }),
    ];
    const conflicting = { ...view, probes: rejected, problems: [] };
    assert.deepEqual(memberReasons('undo finish', conflicting, 'repaired'), []);
    assert.equal(memberReasons('trust', conflicting, 'repaired').length, 1);
  });
});

describe('interruptionReasons()', () => {
  for (const [count, accepted, refused] of [
    [1, false, true],
    [2, false, true],
    [2, true, false],
    [3, false, false],
  ] as const) {
    it(`of ${count} members ${accepted ? 'with' : 'without'} the flag: ${refused ? 'refused' : 'none'}`, () => {
      const members = [m1, m2, m3].slice(0, count);
      const found = interruptionReasons({ members }, { acceptsEtcdInterruption: accepted });
      assert.equal(found.length > 0, refused);
      if (refused) assert.match(found[0]?.remedy ?? '', /--accept-etcd-interruption/);
    });
  }
});
