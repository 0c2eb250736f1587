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
      const found = summaryOf(inventoryFindings({ count: 3, problems: [one], unattended: 0 }));
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
    const found = inventoryFindings({ count: 3, problems: [unused], unattended: 0 });
    assert.deepEqual(summaryOf(found), ['warning inventory-expired']);
  });

  it('is ok without problems, and says nothing without certificates', () => {
    assert.deepEqual(summaryOf(inventoryFindings({ count: 3, problems: [], unattended: 0 })), [
      'ok inventory',
    ]);
    assert.deepEqual(inventoryFindings({ count: 0, problems: [], unattended: 0 }), []);
  });

  it('names unattended renewal if the agent could have renewed a certificate', () => {
    const found = inventoryFindings({ count: 3, problems: [problem], unattended: 2 });
    assert.deepEqual(summaryOf(found), ['error inventory-expired', 'info inventory-unattended']);
  });

  it('does not send its reader to the doctor', () => {
    const remedy = 'Find out why it was not rotated: nodecertd doctor';
    const found = inventoryFindings({
      count: 1,
      problems: [{ ...problem, remedy }],
      unattended: 0,
    });
    assert.match(found[0]?.remedy ?? '', /: journalctl -u kubelet$/);
  });
});
