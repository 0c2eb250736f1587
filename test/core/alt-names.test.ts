import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { canonicalAltNames } from '../../src/core/alt-names.ts';

describe('canonicalAltNames()', () => {
  it('lowers, canonicalizes, sorts and removes duplicates', () => {
    assert.deepEqual(
      canonicalAltNames({
        dnsNames: ['b', 'A', 'a'],
        ipAddresses: ['FD00:0::1', '10.0.0.1', 'fd00::1', 'no address'],
      }),
      { dnsNames: ['a', 'b'], ipAddresses: ['10.0.0.1', 'fd00::1', 'no address'] },
    );
  });
});
