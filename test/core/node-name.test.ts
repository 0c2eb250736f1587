import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isNodeName, nodeOfUser } from '../../src/core/node-name.ts';

const good = ['worker-1', 'ip-10-0-0-1.ec2.internal', '10.0.0.1', 'a'.repeat(253)];
const bad = ['', 'Worker-1', 'worker_1', 'worker-', 'a..b', 'a'.repeat(254), 'a/b', 'a b', 'a\n'];

describe('isNodeName()', () => {
  for (const name of good) it(`accepts ${name.slice(0, 30)}`, () => assert.ok(isNodeName(name)));
  for (const name of bad) {
    it(`rejects ${JSON.stringify(name.slice(0, 30))}`, () => assert.equal(isNodeName(name), false));
  }
});

describe('nodeOfUser()', () => {
  it('returns the node of system:node:NAME', () => {
    for (const name of good) assert.equal(nodeOfUser(`system:node:${name}`), name);
  });

  it('returns undefined for any other user', () => {
    const users = [
      'jane',
      'system:node',
      'system:nodes:n1',
      'system:serviceaccount:n1:x',
      ' system:node:n1',
      ...bad.map((name) => `system:node:${name}`),
    ];
    for (const user of users) assert.equal(nodeOfUser(user), undefined, user);
  });
});
