import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ApiIdentity } from '../../src/kube/access-review.ts';
import { mayI, whoAmI } from '../../src/kube/access-review.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, clientOf, sendJson } from './support/api-server.ts';
import { failureOf } from './support/requests.ts';
import { clientFor } from './support/kubeconfig-client.ts';

const { signal } = new AbortController();

describe('mayI()', () => {
  it('sends a SelfSubjectAccessReview and nothing else', async () => {
    await using sandbox = await startSandbox({ clock: systemClock });
    await using client = await clientFor(sandbox.bootstrapKubeconfig());
    const csrs = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };
    assert.equal(await mayI(client, { ...csrs, verb: 'create' }, signal), true);
    assert.equal(await mayI(client, { ...csrs, verb: 'delete' }, signal), false);
    const nodes = { group: '', resource: 'nodes', name: 'n1', verb: 'get' };
    assert.equal(await mayI(client, nodes, signal), false);
    assert.deepEqual(sandbox.csrs(), []);
  });

  it('returns false for a response without the field', async () => {
    await using server = await ApiServer.start((_, response) =>
      sendJson(response, { status: {} }, 201),
    );
    await using client = await clientOf(server);
    assert.equal(await mayI(client, { group: '', resource: 'x', verb: 'get' }, signal), false);
  });
});

describe('whoAmI()', () => {
  it('returns the user and groups of the client', async () => {
    await using sandbox = await startSandbox({
      clock: systemClock,
      bootstrapToken: 'abcdef.0123456789abcdef',
    });
    await using bearer = await clientFor(sandbox.bootstrapKubeconfig());
    assert.deepEqual(await whoAmI(bearer, signal), {
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:authenticated'],
    });
    await using admin = await clientFor(sandbox.adminKubeconfig());
    const identity = await whoAmI(admin, signal);
    assert.equal(identity !== 'unknown' && identity.username, 'sandbox-admin');
  });

  for (const served of ['v1beta1', 'v1alpha1']) {
    it(`falls back to ${served}`, async () => {
      const identity: ApiIdentity = { username: 'system:node:n1', groups: ['system:nodes'] };
      const { found } = await ask(serving(served, identity));
      assert.deepEqual(found, identity);
    });
  }

  it('returns unknown if the API server lacks the resource', async () => {
    const { found, urls } = await ask(serving('none'));
    assert.equal(found, 'unknown');
    assert.deepEqual(
      urls.map((url) => url.split('/')[3] ?? url),
      ['v1', '/version', 'v1beta1', 'v1alpha1'],
    );
  });

  it('returns unknown if an old API server forbids /version', async () => {
    const { found } = await ask((request, response) => {
      if (request.url !== '/version') return notFound(response);
      const message = 'forbidden: User "system:node:n1" cannot get path "/version"';
      sendJson(response, { kind: 'Status', apiVersion: 'v1', message, code: 403 }, 403);
    });
    assert.equal(found, 'unknown');
  });

  it('reads the user from a 403', async () => {
    const { found } = await ask(refusing('system:node:n1'));
    assert.deepEqual(found, { username: 'system:node:n1', groups: [] });
  });

  it('throws API_ANONYMOUS when the server receives no credential', async () => {
    const groups = ['system:unauthenticated'];
    for (const handler of [
      refusing('system:anonymous'),
      serving('v1', { username: 'system:anonymous', groups }),
    ]) {
      await using server = await ApiServer.start(handler);
      await using client = await clientOf(server);
      const failure = await failureOf(whoAmI(client, signal));
      assert.equal(failure.code, 'API_ANONYMOUS');
      assert.match(
        failure.message,
        /does not receive the credential: a load balancer or proxy removes it/,
      );
      assert.doesNotMatch(failure.remedy ?? '', /[Bb]ind|role/);
    }
  });

  it('throws API_BAD_RESPONSE when every response is 404', async () => {
    await using server = await ApiServer.start((_, response) => notFound(response));
    await using client = await clientOf(server);
    const failure = await failureOf(whoAmI(client, signal));
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.ok(failure.message.includes(server.url), failure.message);
    assert.equal(server.requests.length, 2);
  });
});

async function ask(
  handler: Handler,
): Promise<{ readonly found: ApiIdentity | 'unknown'; readonly urls: readonly string[] }> {
  await using server = await ApiServer.start(handler);
  await using client = await clientOf(server);
  const found = await whoAmI(client, signal);
  return { found, urls: server.requests.map(({ url }) => url) };
}

/** An API server with one version of SelfSubjectReview. */
function serving(version: string, identity?: ApiIdentity): Handler {
  return (request, response) => {
    if (request.url === '/version') return sendJson(response, { gitVersion: 'v1.27.0' });
    if (!request.url?.includes(`/${version}/`)) return notFound(response);
    sendJson(response, { status: { userInfo: identity } }, 201);
  };
}

/** The response of kube-apiserver, and of any web server, for an unknown path. */
const notFound = (response: Parameters<Handler>[1]): void => {
  response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
};

function refusing(user: string): Handler {
  return (_, response) => {
    const message = `selfsubjectreviews.authentication.k8s.io is forbidden: User "${user}" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`;
    const status = { kind: 'Status', apiVersion: 'v1', reason: 'Forbidden', message, code: 403 };
    sendJson(response, status, 403);
  };
}
