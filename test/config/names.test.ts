import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isSignerName, isUnitName, prefixObjection } from '../../src/config/names.ts';

const tables: readonly {
  readonly symbol: string;
  readonly test: (text: string) => boolean;
  readonly good: readonly string[];
  readonly bad: readonly string[];
}[] = [
  {
    symbol: 'isSignerName()',
    test: isSignerName,
    good: ['example.com/serving', 'kubernetes.io/kubelet-serving', 'a.b/c.d'],
    bad: ['', 'serving', 'example/serving', 'example.com/', 'example.com/a/b', 'Example.com/a'],
  },
  {
    symbol: 'isUnitName()',
    test: isUnitName,
    good: [
      'nginx.service',
      'getty@tty1.service',
      String.raw`dev-a\x2db.service`,
      'a.b.target',
      'a.socket',
    ],
    bad: [
      '',
      'nginx',
      '.service',
      '-a.service',
      'a b.service',
      '*.service',
      'a/b.service',
      'a.timer',
      `${'a'.repeat(248)}.service`,
    ],
  },
  {
    symbol: 'prefixObjection()',
    test: (name) => prefixObjection(name) === undefined,
    good: ['kubelet-client', 'a', '0', 'current', 'a-current-b', 'a'.repeat(63), 'v2026-01-02'],
    bad: [
      '',
      'A',
      '-a',
      'a-',
      'a.b',
      'a/b',
      '..',
      'a\n',
      'a'.repeat(64),
      'kubelet-current',
      'kubelet-updated',
      'kubelet-2026-01-02-03-04-05',
      'kubelet-2026-01-02-03-04-05-1',
    ],
  },
];

for (const { symbol, test, good, bad } of tables) {
  describe(symbol, () => {
    for (const text of good) {
      it(`accepts ${JSON.stringify(text.slice(0, 40))}`, () => {
        assert.equal(test(text), true);
      });
    }
    for (const text of bad) {
      it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
        assert.equal(test(text), false);
      });
    }
  });
}
