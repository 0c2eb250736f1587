import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nextName } from '../../../src/trust/cluster/authority-name.ts';

describe('nextName()', () => {
  const now = Date.UTC(2026, 10, 29);
  const cases = [
    ['CN=kubernetes', 'kubernetes 2026-11'],
    ['CN=kubernetes 2025-01', 'kubernetes 2026-11'],
    ['CN=kubernetes 2026-11', 'kubernetes 2026-11b'],
    ['CN=kubernetes 2026-11b', 'kubernetes 2026-11c'],
    ['O=Example\nCN=etcd-ca', 'etcd-ca 2026-11'],
    ["CN=$(reboot)'", 'kubernetes 2026-11'],
    ['', 'kubernetes 2026-11'],
  ] as const;
  for (const [subject, name] of cases) {
    it(`is ${name} after ${JSON.stringify(subject)}`, () => {
      assert.equal(nextName(subject, now), name);
    });
  }
});
