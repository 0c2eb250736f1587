import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { anonymous } from './authorization.ts';
import { impersonated } from './impersonation.ts';
import { StatusError } from './status-error.ts';

const admin = { username: 'admin', groups: ['system:masters', 'system:authenticated'] };
const node = { username: 'system:node:a', groups: ['system:nodes', 'system:authenticated'] };

describe('impersonated()', () => {
  it('returns the user when there are no Impersonate headers', () => {
    assert.equal(impersonated(node, {}), node);
  });

  for (const [what, headers, expected] of [
    ['a user', { 'impersonate-user': 'jane' }, ['jane', 'system:authenticated']],
    [
      'a user with groups',
      { 'impersonate-user': 'system:node:a', 'impersonate-group': 'system:nodes, others' },
      ['system:node:a', 'system:nodes', 'others', 'system:authenticated'],
    ],
    [
      'a group everyone is in',
      { 'impersonate-user': 'jane', 'impersonate-group': 'system:authenticated' },
      ['jane', 'system:authenticated'],
    ],
    [
      'the anonymous user',
      { 'impersonate-user': 'system:anonymous' },
      ['system:anonymous', 'system:unauthenticated'],
    ],
  ] as const) {
    it(`lets the administrator impersonate ${what}`, () => {
      const { username, groups } = impersonated(admin, headers);
      assert.deepEqual([username, ...groups], expected);
    });
  }

  for (const [who, user] of [
    ['a node', node],
    ['the anonymous user', anonymous],
  ] as const) {
    it(`forbids it to ${who}`, () => {
      assert.throws(
        () =>
          impersonated(user, {
            'impersonate-user': 'admin',
            'impersonate-group': 'system:masters',
          }),
        (error) =>
          error instanceof StatusError &&
          error.status.code === 403 &&
          error.message.startsWith(
            `users "admin" is forbidden: User "${user.username}" cannot impersonate`,
          ),
      );
    });
  }

  it('rejects groups without a user, even from the administrator', () => {
    assert.throws(
      () => impersonated(admin, { 'impersonate-group': 'system:nodes' }),
      (error) => error instanceof StatusError && error.status.code === 500,
    );
  });
});
