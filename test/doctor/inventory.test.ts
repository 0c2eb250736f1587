import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findingGroups } from '../../src/core/findings.ts';
import type { CertificateProblem } from '../../src/doctor/inventory.ts';
import { inventoryFindings } from '../../src/doctor/inventory.ts';
import { inventoryStates } from '../../src/pki/inventory/judge.ts';
import { summaryOf } from './findings.ts';

const problem: CertificateProblem = {
  state: 'expired',
  what: '2 certificates have expired: apiserver, admin.conf',
  remedy: 'Renew them: nodecertd certs renew apiserver admin.conf',
  isUrgent: true,
};

describe('inventoryFindings()', () => {
  for (const [state, code] of Object.entries(inventoryStates)) {
    if (code === 0) continue;
    it(`has a finding for ${state}, as severe as its exit code`, () => {
      const one = { ...problem, state: state as CertificateProblem['state'] };
      const found = summaryOf(inventoryFindings({ count: 3, problems: [one] }));
      assert.deepEqual(found, [`${code === 4 ? 'error' : 'warning'} inventory-${state}`]);
    });
  }

  it('has no finding id without a state', () => {
    const states = Object.keys(inventoryStates).filter((state) => state !== 'ok');
    const ids = ['inventory', ...states.map((state) => `inventory-${state}`)];
    const all = [...ids, 'inventory-unattended'];
    assert.deepEqual(all.toSorted(), [...findingGroups.inventory].toSorted());
  });

  it('is a warning for a file that no program of this node uses', () => {
    const unused = { ...problem, isUrgent: false };
    const found = inventoryFindings({ count: 3, problems: [unused] });
    assert.deepEqual(summaryOf(found), ['warning inventory-expired']);
  });

  it('is ok without problems, and says nothing without certificates', () => {
    assert.deepEqual(summaryOf(inventoryFindings({ count: 3, problems: [] })), ['ok inventory']);
    assert.deepEqual(inventoryFindings({ count: 0, problems: [] }), []);
  });

  const needs = [
    [{ outside: [] }, ''],
    [
      { outside: [], foreign: '/k/pki/etcd/server.key' },
      ', and install control-plane.conf, the drop-in of its unit, because /k/pki/etcd/server.key does not belong to root',
    ],
    [
      { outside: ['/a', '/b'] },
      ', and install control-plane.conf, the drop-in of its unit, with ReadWritePaths=/a /b',
    ],
    [
      { outside: ['/a'], foreign: '/a/b' },
      ', and install control-plane.conf, the drop-in of its unit, with ReadWritePaths=/a, because /a/b does not belong to root',
    ],
  ] as const;
  for (const [unattended, end] of needs) {
    it(`names unattended renewal, with the needs ${JSON.stringify(unattended)}`, () => {
      const found = inventoryFindings({ count: 3, problems: [problem], unattended });
      assert.deepEqual(summaryOf(found), ['error inventory-expired', 'info inventory-unattended']);
      const { remedy } = found[1] ?? {};
      const first = 'Let the agent renew them when they are due: set pki.enabled to true in its';
      assert.equal(remedy, `${first} configuration${end}`);
    });
  }

  it('does not send its reader to the doctor', () => {
    const remedy = 'Find out why it was not rotated: nodecertd doctor';
    const found = inventoryFindings({
      count: 1,
      problems: [{ ...problem, remedy }],
    });
    assert.match(found[0]?.remedy ?? '', /: journalctl -u kubelet$/);
  });
});
