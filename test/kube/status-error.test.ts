import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AgentError, ErrorCode } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Handler } from './support/api-server.ts';
import { ApiServer, clientOf, sendJson } from './support/api-server.ts';
import { failureOf, get } from './support/requests.ts';

async function failureWith(handler: Handler): Promise<AgentError> {
  await using server = await ApiServer.start(handler);
  await using client = await clientOf(server);
  return await failureOf(get(client));
}

describe('statusError()', () => {
  const statuses: readonly [number, ErrorCode][] = [
    [301, 'API_BAD_RESPONSE'],
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
    it(`turns status ${status} into ${code} with the server's reason, message and a remedy`, async () => {
      const failure = await failureWith((_, response) => {
        sendJson(response, { kind: 'Status', reason: 'Because', message: 'it\nis so' }, status);
      });
      assert.equal(failure.code, code);
      assert.equal(failure.message, `get /thing: HTTP status ${status}, Because, it is so`);
      assert(failure.remedy);
    });
  }

  it('types an error answer that is not a Status by its HTTP status alone', async () => {
    const failure = await failureWith((_, response) => {
      response.writeHead(502, { 'content-type': 'text/html' }).end('<html>bad gateway</html>');
    });
    assert.equal(failure.code, 'API_SERVER_ERROR');
    assert.equal(failure.message, 'get /thing: HTTP status 502');
  });

  const start = Date.UTC(2026, 0, 1);
  const retries: readonly [string, number, Record<string, string>, unknown, number | undefined][] =
    [
      ['seconds', 429, { 'retry-after': '7' }, {}, 7 * second],
      ['a date', 503, { 'retry-after': new Date(start + minute).toUTCString() }, {}, minute],
      ['a date in the past', 503, { 'retry-after': new Date(start - minute).toUTCString() }, {}, 0],
      ['a year', 429, { 'retry-after': '31536000' }, {}, 60 * minute],
      ['nonsense', 429, { 'retry-after': 'soon' }, {}, undefined],
      ['the Status', 429, {}, { kind: 'Status', details: { retryAfterSeconds: 3 } }, 3 * second],
      ['nothing', 500, {}, {}, undefined],
    ];
  for (const [name, status, headers, body, expected] of retries) {
    it(`takes the time to wait from ${name}`, async () => {
      await using server = await ApiServer.start((_, response) => {
        response.writeHead(status, headers).end(JSON.stringify(body));
      });
      await using client = await clientOf(server, { clock: new FakeClock(start) });
      assert.equal((await failureOf(get(client))).retryAfterMs, expected);
    });
  }
});
