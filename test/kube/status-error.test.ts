import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AgentError, ErrorCode } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, clientOf, sendJson } from './support/api-server.ts';
import { failureOf, get } from './support/requests.ts';

const aStatus = { kind: 'Status', apiVersion: 'v1' };

async function failureWith(handler: Handler, path?: string): Promise<AgentError> {
  await using server = await ApiServer.start(handler);
  await using client = await clientOf(server);
  return await failureOf(get(client, path));
}

describe('statusError()', () => {
  const statuses: readonly [number, ErrorCode][] = [
    [400, 'API_BAD_REQUEST'],
    [401, 'API_UNAUTHORIZED'],
    [403, 'API_FORBIDDEN'],
    [404, 'API_NOT_FOUND'],
    [405, 'API_BAD_REQUEST'],
    [409, 'API_CONFLICT'],
    [410, 'API_GONE'],
    [422, 'API_BAD_REQUEST'],
    [429, 'API_THROTTLED'],
    [500, 'API_SERVER_ERROR'],
    [503, 'API_SERVER_ERROR'],
    [504, 'API_SERVER_ERROR'],
  ];
  for (const [status, code] of statuses) {
    it(`turns status ${status} into ${code} with reason, message and remedy`, async () => {
      const failure = await failureWith((_, response) => {
        sendJson(response, { ...aStatus, reason: 'Because', message: 'it\nis so' }, status);
      });
      assert.equal(failure.code, code);
      assert.equal(failure.message, `get /thing: HTTP status ${status}, Because, it is so`);
      assert(failure.remedy);
    });
  }

  const anyServer: readonly [number, ErrorCode][] = [
    [429, 'API_THROTTLED'],
    [500, 'API_SERVER_ERROR'],
    [502, 'API_SERVER_ERROR'],
  ];
  for (const [status, code] of anyServer) {
    it(`turns status ${status} without a Status into ${code}`, async () => {
      const failure = await failureWith((_, response) => {
        response.writeHead(status, { 'content-type': 'text/html' }).end('<html>sorry</html>');
      });
      assert.equal(failure.code, code);
      assert.equal(failure.message, `get /thing: HTTP status ${status}`);
    });
  }

  for (const status of [301, 400, 401, 403, 404, 409, 410, 418, 422]) {
    it(`returns API_BAD_RESPONSE for status ${status} without a Status`, async () => {
      for (const body of ['404 page not found', '{"kind":"Status"}', '{"message":"no"}', '']) {
        await using server = await ApiServer.start((_, response) => {
          response.writeHead(status).end(body);
        });
        await using client = await clientOf(server);
        const failure = await failureOf(get(client, '/api/v1/nodes/n1'));
        assert.equal(failure.code, 'API_BAD_RESPONSE');
        assert.equal(
          failure.message,
          `get /api/v1/nodes/n1 at ${server.url}: this is not the URL of a Kubernetes API server: HTTP status ${status} without a Kubernetes Status`,
        );
        assert.match(failure.remedy ?? '', /^Set server in \S+ to the URL/);
      }
    });
  }

  const node = '/api/v1/nodes/n%2F1';
  const namings: readonly [string, Record<string, unknown> | undefined, ErrorCode][] = [
    ['the object', { name: 'n/1', kind: 'nodes' }, 'API_NOT_FOUND'],
    ['nothing', undefined, 'API_NOT_FOUND'],
    ['another object', { name: 'n2', kind: 'nodes' }, 'API_BAD_RESPONSE'],
    ['another resource', { name: 'n/1', kind: 'clusters' }, 'API_BAD_RESPONSE'],
  ];
  for (const [what, details, code] of namings) {
    it(`turns a 404 that names ${what} into ${code}`, async () => {
      const failure = await failureWith((_, response) => {
        sendJson(response, { ...aStatus, reason: 'NotFound', details }, 404);
      }, node);
      assert.equal(failure.code, code);
    });
  }

  it('reports a wrong path in the URL for a 403 about an unknown path', async () => {
    const message =
      'forbidden: User "system:node:n1" cannot get path "/prefix/api/v1/nodes/n1": no access';
    const failure = await failureWith((_, response) => {
      sendJson(response, { ...aStatus, reason: 'Forbidden', message, details: {} }, 403);
    }, '/api/v1/nodes/n1');
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.match(failure.message, /not the URL of a Kubernetes API server: HTTP status 403/);
  });

  const forbidden: readonly [string, string, RegExp][] = [
    [
      'a 403 from NodeRestriction after a rename',
      'certificatesigningrequests.certificates.k8s.io "node-csr-x" is forbidden: can only create a node CSR with CN=system:node:old',
      /^Set nodeName \(--hostname-override\) to old; or, if the node was renamed/,
    ],
    [
      'a 403 from the node authorizer after a rename',
      `nodes "n1" is forbidden: User "system:node:old" cannot get resource "nodes" in API group "" at the cluster scope: node 'old' cannot read 'n1', only its own Node object`,
      /^Set nodeName \(--hostname-override\) to old; or, if the node was renamed/,
    ],
    [
      'a 403 from RBAC',
      'nodes "n1" is forbidden: User "system:node:n1" cannot get resource "nodes" in API group "" at the cluster scope',
      /^Bind a role/,
    ],
    ['a 403 from a webhook', 'admission webhook "x" denied the request', /^Bind a role/],
  ];
  for (const [what, message, remedy] of forbidden) {
    it(`returns the remedy for ${what}`, async () => {
      const failure = await failureWith((_, response) => {
        sendJson(response, { ...aStatus, reason: 'Forbidden', message }, 403);
      }, '/api/v1/nodes/n1');
      assert.equal(failure.code, 'API_FORBIDDEN');
      assert.match(failure.remedy ?? '', remedy);
    });
  }

  it('never suggests a role for system:anonymous', async () => {
    const message =
      'nodes "n1" is forbidden: User "system:anonymous" cannot get resource "nodes" in API group "" at the cluster scope';
    const failure = await failureWith((_, response) => {
      sendJson(response, { ...aStatus, reason: 'Forbidden', message }, 403);
    });
    assert.equal(failure.code, 'API_ANONYMOUS');
    assert.doesNotMatch(`${failure.message} ${failure.remedy}`, /[Bb]ind|role/);
  });

  const start = Date.UTC(2026, 0, 1);
  const retries: readonly [string, number, Record<string, string>, unknown, number | undefined][] =
    [
      ['seconds', 429, { 'retry-after': '7' }, {}, 7 * second],
      ['a date', 503, { 'retry-after': new Date(start + minute).toUTCString() }, {}, minute],
      ['a date in the past', 503, { 'retry-after': new Date(start - minute).toUTCString() }, {}, 0],
      ['a year', 429, { 'retry-after': '31536000' }, {}, 60 * minute],
      ['nonsense', 429, { 'retry-after': 'soon' }, {}, undefined],
      ['the Status', 429, {}, { ...aStatus, details: { retryAfterSeconds: 3 } }, 3 * second],
      ['nothing', 500, {}, {}, undefined],
    ];
  for (const [name, status, headers, body, expected] of retries) {
    it(`reads the delay from ${name}`, async () => {
      await using server = await ApiServer.start((_, response) => {
        response.writeHead(status, headers).end(JSON.stringify(body));
      });
      await using client = await clientOf(server, { clock: new FakeClock(start) });
      assert.equal((await failureOf(get(client))).retryAfterMs, expected);
    });
  }
});
