import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import { knownPins, trustFindings } from '../../src/doctor/trust.ts';
import { newCa, oldCa, trustReport } from '../keeper/trust-documents.ts';

const now = Date.UTC(2026, 0, 10);
const finding = { id: 'ca_ambiguous', message: 'two CAs have one name', remedy: 'Remove one' };
const old = 'CN=kubernetes (0101010101010101)';

describe('trustFindings()', () => {
  it('has a finding for each set of CAs', () => {
    const places = [
      { kind: 'kubelet-kubeconfig', path: '/a', authorities: [oldCa] },
      { kind: 'file', path: '/b', authorities: [oldCa, newCa] },
      { kind: 'client-ca', path: '/c', authorities: [oldCa] },
      { kind: 'file', path: '/empty', authorities: [] },
    ] as const;
    const found = trustFindings({ places, findings: [] }, now);
    assert.deepEqual(
      found.map(({ id, severity, what }) => [id, severity, what]),
      [
        ['trust', 'ok', `/a, /c: ${old}`],
        ['trust', 'ok', `/b: ${old}, CN=kubernetes-2026-01 (0202020202020202)`],
      ],
    );
  });

  it('has each problem once, and the steps of a rollover as notes', () => {
    const report = trustReport({ findings: [finding] });
    const reissues = [{ name: 'kubelet-client', kind: 'scheduled', at: now + hour }] as const;
    const agent = { state: 'in-sync', since: now, report, reissues } as const;
    const found = trustFindings({ places: [], findings: [finding], agent }, now);
    assert.deepEqual(
      found.map(({ id, severity, remedy }) => [id, severity, remedy]),
      [
        ['trust-problem', 'warning', 'Remove one'],
        ['trust-step', 'info', undefined],
      ],
    );
  });
});

describe('knownPins()', () => {
  it('has the CAs of the kubeconfig, and those of the sources', () => {
    const places = [
      { kind: 'kubelet-kubeconfig', path: '/a', authorities: [oldCa] },
      { kind: 'client-ca', path: '/b', authorities: [{ ...oldCa, pin: 'sha256:other' }] },
    ] as const;
    assert.deepEqual(knownPins({ places, findings: [] }), [oldCa.pin]);
    const report = trustReport({ authorities: [oldCa, newCa, { ...newCa, isWanted: false }] });
    const agent = { state: 'refused', since: now, report, reissues: [] } as const;
    assert.deepEqual(knownPins({ places, findings: [], agent }), [oldCa.pin, newCa.pin]);
    assert.deepEqual(knownPins(undefined), []);
  });
});
