import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { canonicalIp } from '../../src/core/ip-address.ts';
import {
  cidrContains,
  formatCidr,
  formatIp,
  ipFromBytes,
  maskedIp,
  parseCidr,
  parseIp,
} from '../../src/core/cidr.ts';

const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const ip = fc.oneof(ipv4, ipv6);

describe('parseIp()', () => {
  const addresses: readonly (readonly [string, readonly number[] | undefined])[] = [
    ['10.100.0.2', [10, 100, 0, 2]],
    ['::ffff:10.100.0.2', [10, 100, 0, 2]],
    ['fd00::2', [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]],
    ['::', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ['010.100.0.2', undefined],
    ['fe80::1%eth0', undefined],
    ['10.100.0', undefined],
    ['', undefined],
  ];
  for (const [text, bytes] of addresses) {
    it(`reads ${JSON.stringify(text)}`, () => {
      assert.deepEqual(parseIp(text), bytes && Uint8Array.from(bytes));
    });
  }

  it('reads what formatIp() writes', () => {
    fc.assert(
      fc.property(ip, (bytes) => {
        assert.deepEqual(parseIp(formatIp(bytes)), ipFromBytes(bytes));
        assert.equal(canonicalIp(formatIp(bytes)), formatIp(bytes));
      }),
    );
  });
});

describe('ipFromBytes()', () => {
  it('accepts 4 and 16 bytes only', () => {
    for (const length of [0, 3, 5, 8, 15, 17, 32]) {
      assert.equal(ipFromBytes(new Uint8Array(length)), undefined);
    }
  });
});

describe('parseCidr()', () => {
  const ranges: readonly (readonly [string, string | undefined])[] = [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['10.0.0.1/32', '10.0.0.1/32'],
    ['fd00::1/8', 'fd00::/8'],
    ['fd00::1/128', 'fd00::1/128'],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:10.0.0.0/8', undefined],
    ['10.0.0.0/33', undefined],
    ['fd00::/129', undefined],
    ['10.0.0.0/08', undefined],
    ['10.0.0.0/-1', undefined],
    ['10.0.0.0', undefined],
    ['10.0.0.0/8/8', undefined],
    ['/8', undefined],
  ];
  for (const [text, canonical] of ranges) {
    it(`reads ${text}`, () => {
      const cidr = parseCidr(text);
      assert.equal(cidr && formatCidr(cidr), canonical);
    });
  }
});

describe('cidrContains()', () => {
  it('agrees with the block list of Node', () => {
    const cases = fc.record({ ip, base: ip, share: fc.nat(128), prefix: fc.nat(128) });
    fc.assert(
      fc.property(cases, ({ ip, base, share, prefix: wanted }) => {
        // Mapped addresses are IPv4 here, while Node keeps them as IPv6.
        fc.pre([ip, base].every((bytes) => ipFromBytes(bytes)?.length === bytes.length));
        const prefix = Math.min(wanted, base.length * 8);
        // Random addresses rarely share a long prefix.
        const tried = ip.length === base.length ? withPrefixOf(base, ip, share) : ip;
        fc.pre(ipFromBytes(tried)?.length === tried.length);
        const list = new BlockList();
        list.addSubnet(formatIp(base), prefix, base.length === 4 ? 'ipv4' : 'ipv6');
        const expected = list.check(formatIp(tried), tried.length === 4 ? 'ipv4' : 'ipv6');
        const address = maskedIp(base, prefix);
        // Node checks IPv4 addresses against IPv6 ranges as mapped addresses.
        const actual = cidrContains({ address, prefix }, tried);
        assert.equal(actual, expected && tried.length === base.length);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never mixes IPv4 and IPv6', () => {
    const all = parseCidr('::/0');
    const all4 = parseCidr('0.0.0.0/0');
    assert.ok(all && all4);
    const [one, other] = [parseIp('10.0.0.1'), parseIp('fd00::1')];
    assert.ok(one && other);
    assert.deepEqual([cidrContains(all, one), cidrContains(all, other)], [false, true]);
    assert.deepEqual([cidrContains(all4, one), cidrContains(all4, other)], [true, false]);
  });
});

function withPrefixOf(base: Uint8Array, ip: Uint8Array, bits: number): Uint8Array {
  const head = maskedIp(base, bits);
  const tail = maskedIp(ip, bits);
  return ip.map((byte, index) => (byte ^ (tail[index] ?? 0)) | (head[index] ?? 0));
}
