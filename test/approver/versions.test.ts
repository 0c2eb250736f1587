import assert from 'node:assert/strict';
import { it } from 'node:test';
import { differsInVersionOnly } from '../../src/approver/versions.ts';

it('differsInVersionOnly() compares every field but the version', () => {
  const one = { resourceVersion: '1', addresses: ['10.0.0.1'] };
  assert.ok(differsInVersionOnly(one, { ...one, resourceVersion: '2' }));
  assert.ok(!differsInVersionOnly(one, { resourceVersion: '1', addresses: ['10.0.0.2'] }));
});
