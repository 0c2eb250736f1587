import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day } from '../../src/core/instant.ts';
import type { TrustAuthority } from '../../src/core/trust.ts';
import {
  ambiguousPairs,
  isSameAuthority,
  isSameBundle,
  missingFrom,
  unionOf,
  unwantedIn,
} from '../../src/core/trust-bundle.ts';
import { without } from '../../src/core/without.ts';
import { start } from './fixtures.ts';

/** A CA whose key is named by its letter, such as `A` or `A2` for its renewed certificate. */
function ca(name: string, changes: Partial<TrustAuthority> = {}): TrustAuthority {
  const [key = ''] = name;
  const generation = Number(name.slice(1) || '1');
  return {
    der: new TextEncoder().encode(name),
    fingerprint: Buffer.from(name).toString('hex'),
    pin: `sha256:${key}`,
    subject: 'CN=kubernetes',
    subjectName: new TextEncoder().encode('kubernetes'),
    subjectKeyId: `id of ${key}`,
    isSelfSigned: true,
    notBefore: start + generation * day,
    notAfter: start + (3650 + generation) * day,
    ...changes,
  };
}

function bundle(names: string): TrustAuthority[] {
  return names.split(' ').flatMap((name) => (name === '' ? [] : ca(name)));
}

function names(authorities: readonly TrustAuthority[]): string {
  return authorities.map(({ der }) => new TextDecoder().decode(der)).join(' ');
}

describe('unionOf()', () => {
  const cases: readonly (readonly [held: string, wanted: string, union: string])[] = [
    ['', 'A', 'A'],
    ['A', '', 'A'],
    ['A', 'A', 'A'],
    ['A', 'B', 'A B'],
    ['A', 'B A', 'A B'],
    ['A B', 'B', 'A B'],
    ['A B', 'C D A', 'A B C D'],
    ['A', 'A2', 'A2'],
    ['A B', 'C A2', 'A2 B C'],
    ['A2', 'A', 'A2'],
    ['A', 'A A2 B', 'A2 B'],
    ['A A2', 'B', 'A2 B'],
    ['A A', 'B B', 'A B'],
  ];
  for (const [held, wanted, union] of cases) {
    it(`of [${held}] and [${wanted}] is [${union}]`, () => {
      assert.equal(names(unionOf(bundle(held), bundle(wanted))), union);
    });
  }

  it('does not change when it is formed again', () => {
    for (const [held, wanted, union] of cases) {
      assert.equal(names(unionOf(bundle(union), bundle(wanted))), union);
      assert.equal(names(unionOf(bundle(union), bundle(held))), union);
    }
  });

  it('orders certificates of one time by their end', () => {
    const [short, long] = [ca('A'), ca('A2', { notBefore: ca('A').notBefore })];
    assert.deepEqual(unionOf([short], [long]), [long]);
    assert.deepEqual(unionOf([long], [short]), [long]);
  });

  it('keeps one of two certificates of the same time, whatever their order', () => {
    const { notBefore, notAfter } = ca('A');
    const [one, other] = [ca('A'), ca('A2', { notBefore, notAfter })];
    assert.deepEqual(unionOf([one], [other]), unionOf([other], [one]));
  });
});

describe('isSameAuthority()', () => {
  const renewed = ca('A2');
  const cases: readonly (readonly [what: string, other: TrustAuthority, isSame: boolean])[] = [
    ['a renewed certificate', renewed, true],
    ['a renewed certificate without a key identifier', without(renewed, 'subjectKeyId'), true],
    ['another key', ca('B'), false],
    ['another key identifier', { ...renewed, subjectKeyId: 'other' }, false],
    ['another name', { ...renewed, subjectName: Uint8Array.of(1) }, false],
    ['a bridge', { ...renewed, isSelfSigned: false }, false],
  ];
  for (const [what, other, isSame] of cases) {
    it(`is ${isSame} for ${what}`, () => {
      assert.equal(isSameAuthority(ca('A'), other), isSame);
      assert.equal(isSameAuthority(other, ca('A')), isSame);
    });
  }

  it('is true for the same bridge', () => {
    const bridge = ca('A', { isSelfSigned: false });
    assert.equal(isSameAuthority(bridge, { ...bridge }), true);
  });
});

describe('missingFrom()', () => {
  for (const [held, wanted, missing] of [
    ['A', 'A', ''],
    ['A', 'A B', 'B'],
    ['A B', 'B', ''],
    ['A', 'A2', 'A2'],
    ['A2', 'A', ''],
    ['', 'A B', 'A B'],
  ] as const) {
    it(`[${held}] lacks [${missing}] of [${wanted}]`, () => {
      assert.equal(names(missingFrom(bundle(held), bundle(wanted))), missing);
    });
  }
});

describe('unwantedIn()', () => {
  for (const [held, wanted, unwanted] of [
    ['A', 'A', ''],
    ['A B', 'B', 'A'],
    ['A', 'A2', ''],
    ['A2', 'A', ''],
    ['A B', '', 'A B'],
  ] as const) {
    it(`[${wanted}] lacks [${unwanted}] of [${held}]`, () => {
      assert.equal(names(unwantedIn(bundle(held), bundle(wanted))), unwanted);
    });
  }
});

describe('isSameBundle()', () => {
  for (const [a, b, isSame] of [
    ['A B', 'B A', true],
    ['A B', 'A B B', true],
    ['A B', 'A', false],
    ['A', 'A2', false],
    ['', '', true],
  ] as const) {
    it(`of [${a}] and [${b}] is ${isSame}`, () => {
      assert.equal(isSameBundle(bundle(a), bundle(b)), isSame);
    });
  }
});

describe('ambiguousPairs()', () => {
  it('is empty if both CAs have a key identifier', () => {
    assert.deepEqual(ambiguousPairs(bundle('A B')), []);
  });

  it('has two CAs with one subject, of which one has no key identifier', () => {
    const [a, b] = [ca('A'), without(ca('B'), 'subjectKeyId')];
    assert.deepEqual(ambiguousPairs([a, b, ca('C', { subject: 'CN=other' })]), [[a, b]]);
  });

  it('compares subjects without their case', () => {
    const [a, b] = [ca('A'), without(ca('B', { subject: 'CN=Kubernetes' }), 'subjectKeyId')];
    assert.equal(ambiguousPairs([a, b]).length, 1);
  });

  it('omits two certificates of one key', () => {
    assert.deepEqual(ambiguousPairs([ca('A'), without(ca('A2'), 'subjectKeyId')]), []);
  });
});
