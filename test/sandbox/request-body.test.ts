import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { csrBody, csrsPath, makeRequest, run, token } from './fixtures.ts';
import type { KeyedRequest, Running } from './fixtures.ts';

let running: Running;
let request: KeyedRequest;
before(async () => {
  running = await run({ signing: false, approving: false, maxBodyBytes: 16_384 });
  request = await makeRequest();
});
after(() => running[Symbol.asyncDispose]());

/** Sends a POST with the given body and content type. */
async function post(
  body: string | Buffer,
  type: string,
): Promise<{ code: number | undefined; text: string; connection: string | undefined }> {
  const outgoing = httpsRequest(`${running.sandbox.server}${csrsPath}`, {
    method: 'POST',
    ca: running.sandbox.caPem,
    agent: false,
    headers: { authorization: `Bearer ${token}`, 'content-type': type },
  });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const { statusCode: code, headers } = response;
  return { code, text: await text(response), connection: headers.connection };
}

describe('bodies', () => {
  it('are accepted up to the limit', async () => {
    const limit = 16_384;
    const fits = await post('x'.repeat(limit), 'application/json');
    assert.equal(fits.code, 400);
    assert.match(fits.text, /not JSON/);
    const exceeds = await post('x'.repeat(limit + 1), 'application/json');
    assert.equal(exceeds.code, 413);
    assert.match(exceeds.text, /larger than 16384 bytes/);
    assert.equal(exceeds.connection, 'close');
  });

  it('are accepted as JSON only', async () => {
    for (const [type, code] of [
      ['application/yaml', 415],
      ['application/vnd.kubernetes.protobuf', 415],
      ['application/json; charset=utf-8', 201],
    ] as const) {
      const body = JSON.stringify(csrBody('by-type', request.pem));
      assert.equal((await post(body, type)).code, code, type);
    }
  });
});
