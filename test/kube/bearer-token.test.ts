import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { describeError } from '../../src/core/errors.ts';
import { minute } from '../../src/core/instant.ts';
import { FakeClock } from '../support/fake-clock.ts';
import {
  ApiServer,
  clientOf,
  sendJson,
  sendStatus,
  temporaryFolder,
} from './support/api-server.ts';
import { failureOf, get } from './support/requests.ts';

describe('BearerToken', () => {
  it('reads a token file again after 50 s, and at once after 401', async () => {
    const clock = new FakeClock();
    await using folder = await temporaryFolder();
    const tokenFile = join(folder.path, 'token');
    const put = async (token: string): Promise<void> => {
      await writeFile(`${tokenFile}.new`, token);
      await rename(`${tokenFile}.new`, tokenFile);
    };
    await put('one\n');
    await using server = await ApiServer.start((request, response) => {
      const bad = request.headers.authorization === 'Bearer two';
      if (bad) sendStatus(response, 401);
      else sendJson(response, { seen: request.headers.authorization });
    });
    await using client = await clientOf(server, {
      clock,
      parts: { user: { token: 'ignored', tokenFile } },
    });
    assert.deepEqual(await get(client), { seen: 'Bearer one' });
    await put('two');
    assert.deepEqual(await get(client), { seen: 'Bearer one' });
    await clock.advance(minute);
    assert.equal((await failureOf(get(client))).code, 'API_UNAUTHORIZED');
    await put('three');
    assert.deepEqual(await get(client), { seen: 'Bearer three' });
  });

  it('rejects a token with a line break without showing the token', async () => {
    await using server = await ApiServer.start(() => {});
    await using client = await clientOf(server, { parts: { user: { token: 'top\nsecret' } } });
    const failure = await failureOf(get(client));
    assert.equal(failure.code, 'KUBECONFIG_INVALID');
    assert.doesNotMatch(describeError(failure), /secret/);
  });

  for (const [what, tokenFile, message] of [
    ['names a missing token file', '/nonexistent/token', /\/nonexistent\/token/],
    [
      'does not repeat a token in place of the path of its file',
      'abcdef.0123456789abcdef',
      /\(ENOENT\)/,
    ],
  ] as const) {
    it(what, async () => {
      await using server = await ApiServer.start(() => {});
      await using client = await clientOf(server, { parts: { user: { tokenFile } } });
      const failure = await failureOf(get(client));
      assert.equal(failure.code, 'KUBECONFIG_INVALID');
      assert.match(describeError(failure), message);
      assert.doesNotMatch(describeError(failure) + String(failure.remedy), /0123456789abcdef/);
    });
  }
});
