import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hostNameProblem, isPlaceholderHostName } from '../../src/core/host-name.ts';

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
