import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import {
  conflictReason,
  notServing,
  peerConflicts,
  untrusting,
} from '../../src/trust/control-plane/etcd/gates.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { inspectEtcd } from '../../src/trust/control-plane/etcd/member-health.ts';
import type { MemberProbe } from '../../src/trust/control-plane/etcd/member-probes.ts';
import { probeMembers } from '../../src/trust/control-plane/etcd/member-probes.ts';
import { RealEtcd, skipWithoutEtcd } from '../support/etcd-members.ts';
import { until } from '../support/until.ts';
import { makeTestAuthority } from '../trust/node/authority.ts';

const { signal } = new AbortController();
const old = makeTestAuthority({ subject: '/CN=etcd-ca' });
const next = makeTestAuthority({ subject: '/CN=etcd-ca 2026-11' });

async function healthy(etcd: RealEtcd): Promise<void> {
  await until('healthy members of etcd', async () => {
    const { members, problems } = await inspectEtcd(etcd.access, { clock: systemClock, signal });
    return members.length === 3 && problems.length === 0;
  });
}

async function probe(etcd: RealEtcd): Promise<MemberProbe[]> {
  const { members } = await inspectEtcd(etcd.access, { clock: systemClock, signal });
  return probeMembers(members, {
    authorities: { old: old.authority, next: next.authority },
    keys: {
      old: { authority: old.authority, key: createPrivateKey(old.key) },
      next: { authority: next.authority, key: createPrivateKey(next.key) },
    },
    now: Date.now(),
    signal,
  });
}

/** As in `member-1 client: serves old, accepts old and next`. */
function shown(probes: readonly MemberProbe[]): string[] {
  return probes.map(({ member, port, served, accepts }) => {
    const accepted = (['old', 'next'] as const).filter((side) => accepts[side].kind === 'accepted');
    return `${member.name} ${port}: serves ${served.issuedBy}, accepts ${accepted.join(' and ')}`;
  });
}

describe('real members of etcd', { skip: skipWithoutEtcd() }, () => {
  it('use other CAs after a restart, and show members that reject each other', async () => {
    await using etcd = await RealEtcd.start(old);
    await healthy(etcd);
    const names = ['member-1', 'member-2', 'member-3'];
    const each = (text: string): string[] =>
      names.flatMap((name) => ['client', 'peer'].map((port) => `${name} ${port}: ${text}`));
    assert.deepEqual(shown(await probe(etcd)).toSorted(), each('serves old, accepts old'));

    for (const member of etcd.members) await etcd.trust(member, old, next);
    assert.equal(untrusting(await probe(etcd)).length, 6, 'the files alone change nothing');

    for (const index of [0, 1]) {
      await etcd.restart(etcd.member(index));
      await healthy(etcd);
    }
    const waiting = untrusting(await probe(etcd));
    assert.deepEqual(
      waiting.map(({ message }) => /^the etcd member (\S+) .* rejects/.exec(message)?.[1]),
      ['member-3', 'member-3'],
    );

    await etcd.issue(etcd.member(1), next);
    const conflicts = peerConflicts(await probe(etcd));
    assert.deepEqual(conflicts, [{ serving: 'member-2', by: 'next', rejecting: 'member-3' }]);
    assert.deepEqual(
      conflicts.map((conflict) => conflictReason(conflict).state),
      ['harmful'],
    );
    // The connections that are open hide it until member-2 has to open them again.
    await etcd.restart(etcd.member(1));
    await until('a member that has lost another one', async () => {
      const { problems } = await inspectEtcd(etcd.access, { clock: systemClock, signal });
      return problems.length > 0;
    });

    await etcd.restart(etcd.member(2));
    await healthy(etcd);
    assert.deepEqual(untrusting(await probe(etcd)), []);
    for (const index of [0, 2]) await etcd.issue(etcd.member(index), next);
    assert.deepEqual(notServing('next', await probe(etcd)), []);
    assert.deepEqual(
      shown(await probe(etcd)).toSorted(),
      each('serves next, accepts old and next'),
    );
    await healthy(etcd);
  });

  it('that do not run are a problem for the others', async () => {
    await using etcd = await RealEtcd.start(old);
    await healthy(etcd);
    await etcd.member(2).process.stop(0);
    const { members, problems } = await inspectEtcd(etcd.access, { clock: systemClock, signal });
    assert.equal(members.length, 3);
    assert.deepEqual(
      problems.map(({ message }) => /^the etcd member (\S+) does not answer/.exec(message)?.[1]),
      ['member-3'],
    );
    await etcd.member(0).process.stop(0);
    const alone = await inspectEtcd(etcd.access, { clock: systemClock, signal });
    assert.deepEqual(alone.members, []);
    const [problem] = alone.problems;
    assert.match(problem?.message ?? '', /^etcd at 127\.0\.0\.1:\d+ does not answer/);
  });
});
