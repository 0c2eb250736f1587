import { isSignerName, isUnitName, prefixObjection } from '../../src/config/names.ts';
import { describePredicate } from '../support/predicates.ts';
import type { Predicate } from '../support/predicates.ts';

const predicates: readonly Predicate[] = [
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

predicates.forEach(describePredicate);
