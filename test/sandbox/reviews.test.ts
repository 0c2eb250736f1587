import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { hour, second } from '../../src/core/instant.ts';
import type { Approvals } from './authorization.ts';
import { everyApproval } from './authorization.ts';
import { answerReview } from './reviews.ts';
import type { ApiClient } from '../support/api-client.ts';
import type { Running } from './fixtures.ts';
import { csrBody, csrsPath, makeRequest, refusal, run, token, waitFor } from './fixtures.ts';

const node = { username: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] };
const bootstrapper = {
  username: 'system:bootstrap:abcdef',
  groups: ['system:bootstrappers', 'system:authenticated'],
};
const admin = { username: 'a', groups: ['system:masters'] };
const csrs = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };
const nodes = { group: '', resource: 'nodes' };
const none: Approvals = new Set();

describe('answerReview()', () => {
  const rows = [
    ['a node may create CSRs', node, { ...csrs, verb: 'create' }, true],
    ['a bootstrapper may watch CSRs', bootstrapper, { ...csrs, verb: 'watch' }, true],
    ['a node may not approve', node, { ...csrs, verb: 'update', subresource: 'approval' }, false],
    ['a node may get its Node', node, { ...nodes, verb: 'get', name: 'n1' }, true],
    ['a node may not get another', node, { ...nodes, verb: 'get', name: 'n2' }, false],
    ['a node may not list Nodes', node, { ...nodes, verb: 'list' }, false],
    ['a bootstrapper may get no Node', bootstrapper, { ...nodes, verb: 'get', name: 'n1' }, false],
    ['a node is renewed', node, { ...csrs, verb: 'create', subresource: 'selfnodeclient' }, true],
    [
      'a bootstrapper is not',
      bootstrapper,
      { ...csrs, verb: 'create', subresource: 'selfnodeclient' },
      false,
    ],
    [
      'a bootstrapper is approved',
      bootstrapper,
      { ...csrs, verb: 'create', subresource: 'nodeclient' },
      true,
    ],
    ['a verb that does not exist', node, { ...csrs, verb: 'fly' }, false],
    ['a resource that is not served', node, { group: 'x', resource: 'pods', verb: 'get' }, false],
    ['an admin and what is not served', admin, { group: 'x', resource: 'pods', verb: 'get' }, true],
  ] as const;
  for (const [name, user, resourceAttributes, allowed] of rows) {
    it(`${allowed ? 'allows' : 'denies'}: ${name}`, () => {
      const body = { kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } };
      const answer = answerReview('SelfSubjectAccessReview', body, {
        user,
        approvals: everyApproval,
      });
      assert.deepEqual((answer as { status: unknown }).status, { allowed });
    });
  }

  for (const [user, subresource] of [
    [node, 'selfnodeclient'],
    [bootstrapper, 'nodeclient'],
  ] as const) {
    it(`denies ${subresource} without its binding`, () => {
      const resourceAttributes = { ...csrs, verb: 'create', subresource };
      const body = { kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } };
      const answer = answerReview('SelfSubjectAccessReview', body, { user, approvals: none });
      assert.deepEqual((answer as { status: unknown }).status, { allowed: false });
    });
  }

  it('decides about paths', () => {
    assert.deepEqual(askPath('/healthz'), { allowed: true });
    assert.deepEqual(askPath('/apis'), { allowed: false });
  });
});

function askPath(path: string): unknown {
  const spec = { nonResourceAttributes: { path, verb: 'get' } };
  const body = { kind: 'SelfSubjectAccessReview', spec };
  const user = { username: 'system:anonymous', groups: [] };
  const answer = answerReview('SelfSubjectAccessReview', body, { user, approvals: none });
  return (answer as { status: unknown }).status;
}

describe('reviews and the token Secret over HTTP', () => {
  const secret = '/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef';
  const whoAmI = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  let running: Running;
  before(async () => {
    running = await run({ bootstrapTokenSeconds: 3_600 });
  });
  after(() => running[Symbol.asyncDispose]());

  async function user(client: ApiClient): Promise<string> {
    const body = { kind: 'SelfSubjectReview', apiVersion: 'authentication.k8s.io/v1' };
    const answer = await client.must({ method: 'POST', path: whoAmI, body });
    return (answer as { status: { userInfo: { username: string } } }).status.userInfo.username;
  }

  it('return the user, and 403 to anonymous requests', async () => {
    assert.equal(await user(running.bootstrapper), 'system:bootstrap:abcdef');
    assert.equal(await user(await running.connectNode('n1')), 'system:node:n1');
    const stranger = await refusal(running.connect(), { method: 'POST', path: whoAmI, body: {} });
    assert.equal(stranger.code, 403);
    const got = await refusal(running.admin, { method: 'GET', path: whoAmI });
    assert.equal(got.code, 405);
  });

  it('leave a renewal pending while its binding is missing', async () => {
    const client = await running.connectNode('n1');
    running.sandbox.setApprovals(new Set(['nodeclient']));
    const { pem } = await makeRequest({ commonName: 'system:node:n1' });
    await client.must({ method: 'POST', path: csrsPath, body: csrBody('renewal', pem) });
    // A later CSR is approved, so the approver has already skipped the first one.
    await running.connectNode('n2');
    assert.deepEqual(
      running.sandbox.csrs().find(({ metadata }) => metadata.name === 'renewal')?.status,
      {},
    );
    running.sandbox.setApprovals(everyApproval);
    await waitFor(running.admin, 'renewal', ({ status }) => status.certificate !== undefined);
  });

  it('show the token to administrators only, until it expires', async () => {
    const shown = (await running.admin.must({ method: 'GET', path: secret })) as {
      readonly data: Readonly<Record<string, string>>;
    };
    const text = Object.fromEntries(
      Object.entries(shown.data).map(([key, value]) => [
        key,
        Buffer.from(value, 'base64').toString(),
      ]),
    );
    assert.equal(`${text['token-id']}.${text['token-secret']}`, token);
    const end = Date.parse(text['expiration'] ?? '');
    assert.ok(Math.abs(end - running.clock.now() - hour) < second, text['expiration'] ?? 'none');
    const forbidden = await refusal(running.bootstrapper, { method: 'GET', path: secret });
    assert.match(forbidden.message, /cannot get resource "secrets" .* namespace "kube-system"/);
    const other = await refusal(running.admin, { method: 'GET', path: `${secret.slice(0, -1)}x` });
    assert.equal(other.reason, 'NotFound');

    running.clock.jump(hour);
    assert.equal((await refusal(running.admin, { method: 'GET', path: secret })).code, 404);
    const late = await refusal(running.bootstrapper, { method: 'POST', path: whoAmI, body: {} });
    assert.equal(late.code, 401);
  });
});
