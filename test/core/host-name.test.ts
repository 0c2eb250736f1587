import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  hostNameProblem,
  isDnsName,
  isHostName,
  isPlaceholderHostName,
} from '../../src/core/host-name.ts';
import { describePredicate } from '../support/predicates.ts';
import type { Predicate } from '../support/predicates.ts';

const predicates: readonly Predicate[] = [
  {
    symbol: 'isDnsName()',
    test: isDnsName,
    good: ['a', 'worker-1', 'A.Example.COM', '*.example.com', `${'a'.repeat(63)}.b`],
    bad: ['', '*', '*.', 'a..b', '-a', 'a-', 'a_b', 'a.*.b', 'a.', `${'a'.repeat(64)}.b`],
  },
  {
    symbol: 'isHostName()',
    test: isHostName,
    good: ['a', 'worker-1', 'A.Example.COM', '10.a'],
    bad: ['', '*.example.com', '10.0.0.1', '::1', 'a_b'],
  },
];

predicates.forEach(describePredicate);

describe('isPlaceholderHostName()', () => {
  for (const name of ['localhost', 'localhost.localdomain', 'localhost.', '(none)', '']) {
    it(`is true for ${JSON.stringify(name)}`, () => {
      assert.equal(isPlaceholderHostName(name), true);
    });
  }

  for (const name of ['worker-1', 'localhost1', 'my-localhost', 'node.localhost', 'none']) {
    it(`is false for ${name}`, () => {
      assert.equal(isPlaceholderHostName(name), false);
    });
  }
});

describe('hostNameProblem()', () => {
  it('names the host name and both ways to set another', () => {
    const problem = hostNameProblem({ placeholderHostName: 'localhost' });
    assert.match(problem?.message ?? '', /^the host name "localhost" cannot name a Node/);
    assert.match(problem?.remedy ?? '', /hostnamectl .*nodeName \(--hostname-override\)$/);
    assert.equal(hostNameProblem({}), undefined);
  });
});
