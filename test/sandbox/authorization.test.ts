import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { csrResource, nodeResource } from './api-object.ts';
import type { User, Verb } from './authorization.ts';
import { anonymous, authorizePath, authorizeResource } from './authorization.ts';

const users = {
  admin: { username: 'a', groups: ['system:masters', 'system:authenticated'] },
  bootstrapper: {
    username: 'system:bootstrap:abcdef',
    groups: ['system:bootstrappers', 'system:authenticated'],
  },
  node: { username: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] },
  'nameless node': { username: 'system:node:', groups: ['system:nodes', 'system:authenticated'] },
  'user in system:nodes': { username: 'n1', groups: ['system:nodes', 'system:authenticated'] },
  'user with the name of a node': { username: 'system:node:n1', groups: ['system:authenticated'] },
  anonymous,
} as const satisfies Record<string, User>;

const verbs: readonly Verb[] = ['create', 'get', 'list', 'watch', 'update', 'delete'];
const requestorVerbs: readonly Verb[] = ['create', 'get', 'list', 'watch'];
const readVerbs: readonly Verb[] = ['get', 'list', 'watch'];

const rows: readonly {
  readonly user: keyof typeof users;
  readonly csrs: readonly Verb[];
  /** On the Node n1. */
  readonly ownNode: readonly Verb[];
  readonly otherNode: readonly Verb[];
  readonly subresources: readonly Verb[];
}[] = [
  { user: 'admin', csrs: verbs, ownNode: verbs, otherNode: verbs, subresources: verbs },
  { user: 'bootstrapper', csrs: requestorVerbs, ownNode: [], otherNode: [], subresources: [] },
  { user: 'node', csrs: requestorVerbs, ownNode: readVerbs, otherNode: [], subresources: [] },
  { user: 'nameless node', csrs: [], ownNode: [], otherNode: [], subresources: [] },
  { user: 'user in system:nodes', csrs: [], ownNode: [], otherNode: [], subresources: [] },
  { user: 'user with the name of a node', csrs: [], ownNode: [], otherNode: [], subresources: [] },
  { user: 'anonymous', csrs: [], ownNode: [], otherNode: [], subresources: [] },
];

describe('authorizeResource()', () => {
  for (const row of rows) {
    const user = users[row.user];
    const allowed = (attributes: Omit<Parameters<typeof authorizeResource>[1], 'verb'>): Verb[] =>
      verbs.filter((verb) => authorizeResource(user, { ...attributes, verb }).ok);
    it(`gives the ${row.user} its rights and no others`, () => {
      assert.deepEqual(allowed({ resource: csrResource, name: 'c' }), row.csrs);
      assert.deepEqual(allowed({ resource: csrResource }), row.csrs);
      assert.deepEqual(allowed({ resource: nodeResource, name: 'n1' }), row.ownNode);
      assert.deepEqual(allowed({ resource: nodeResource, name: 'n10' }), row.otherNode);
      assert.deepEqual(allowed({ resource: nodeResource }), row.otherNode);
      for (const subresource of ['approval', 'status']) {
        const resource = csrResource;
        assert.deepEqual(allowed({ resource, subresource, name: 'c' }), row.subresources);
      }
    });
  }

  it('names the user, the verb and the resource that it forbids', () => {
    const verdict = authorizeResource(users.node, {
      verb: 'update',
      resource: csrResource,
      subresource: 'approval',
      name: 'c',
    });
    assert.deepEqual(verdict, {
      ok: false,
      message:
        'certificatesigningrequests.certificates.k8s.io "c" is forbidden: User "system:node:n1" cannot update ' +
        'resource "certificatesigningrequests/approval" in API group "certificates.k8s.io" at the cluster scope',
    });
  });
});

describe('authorizePath()', () => {
  for (const path of ['/healthz', '/livez', '/readyz', '/version']) {
    it(`opens ${path} to everyone`, () => {
      assert.ok(authorizePath(anonymous, path).ok);
    });
  }
  for (const path of ['/api', '/apis', '/apis/certificates.k8s.io/v1', '/metrics']) {
    it(`opens ${path} to authenticated users`, () => {
      assert.ok(authorizePath(users.bootstrapper, path).ok);
      assert.ok(!authorizePath(anonymous, path).ok);
    });
  }
});
