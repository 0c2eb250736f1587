import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { InventorySeries } from '../../src/metrics/inventory-exposition.ts';
import { inventoryExposition } from '../../src/metrics/inventory-exposition.ts';
import { parseExposition } from './exposition.ts';

const row = {
  name: 'apiserver',
  kind: 'certificate',
  place: '/pki/apiserver.crt',
  entry: '',
  state: 'ok',
  certificate: { serial: '1f', subject: 'CN=a', issuer: 'CN=b', notBefore: 1000, notAfter: 2500 },
};
const { certificate: _, ...gap } = { ...row, state: 'missing' };

function expositionOf(...rows: readonly InventorySeries[]): string {
  return [...inventoryExposition(rows, 3000)].join('');
}

describe('inventoryExposition()', () => {
  it('has the four series of a certificate, and the time of the scan in the last line', () => {
    const labels = 'name="apiserver",kind="certificate",place="/pki/apiserver.crt",entry=""';
    const lines = expositionOf(row).trimEnd().split('\n');
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('#')),
      [
        `nodecertd_inventory_not_before_timestamp_seconds{${labels}} 1`,
        `nodecertd_inventory_not_after_timestamp_seconds{${labels}} 2.5`,
        `nodecertd_inventory_state{${labels},state="ok"} 1`,
        `nodecertd_inventory_info{${labels},serial="1f",subject="CN=a",issuer="CN=b"} 1`,
        'nodecertd_inventory_last_scan_timestamp_seconds 3',
      ],
    );
    assert.equal(lines.at(-1), 'nodecertd_inventory_last_scan_timestamp_seconds 3');
  });

  it('has only a state for a file without a certificate', () => {
    const { samples } = parseExposition(expositionOf(gap));
    assert.equal(samples.size, 2);
  });

  it('escapes backslashes, quotes and line breaks', () => {
    const { samples } = parseExposition(expositionOf({ ...gap, place: '/a\\b"c\nd' }));
    const [state = ''] = samples.keys();
    assert.ok(state.includes('place="/a\\\\b\\"c\\nd"'), state);
  });

  it('has no series twice, because Prometheus would reject it', () => {
    const { samples } = parseExposition(expositionOf(gap, gap, row, row));
    assert.equal(samples.size, 6);
  });

  it('has both states of a file with a certificate and a malformed block', () => {
    const text = expositionOf(row, { ...gap, state: 'unreadable' });
    assert.match(text, /,state="ok"\} 1$/m);
    assert.match(text, /,state="unreadable"\} 1$/m);
  });
});
