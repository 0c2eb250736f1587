import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { Pool } from 'undici';
import type { WholeResponse } from '../../src/kube/whole-response.ts';
import { wholeResponse } from '../../src/kube/whole-response.ts';
import { failureOf } from './support/requests.ts';

/** A server for one test, and a client that opens one connection to it. */
class Scene implements AsyncDisposable {
  readonly #server = createServer();
  readonly stop = new AbortController();
  #pool: Pool | undefined;

  static async start(listener: RequestListener): Promise<Scene> {
    const scene = new Scene();
    scene.#server.on('request', listener);
    scene.#server.listen(0, '127.0.0.1');
    await once(scene.#server, 'listening');
    const { port } = scene.#server.address() as AddressInfo;
    scene.#pool = new Pool(`http://127.0.0.1:${port}`, { connections: 1 });
    return scene;
  }

  async get(limit = 1_000): Promise<WholeResponse> {
    assert.ok(this.#pool);
    const bounds = { limit, what: 'the response', signal: this.stop.signal };
    return wholeResponse(this.#pool, { path: '/', method: 'GET' }, bounds);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

describe('wholeResponse()', () => {
  it('returns status, headers and a body that arrives in pieces', async () => {
    await using scene = await Scene.start((_, response) => {
      response.writeHead(409, { date: 'Sun, 06 Nov 1994 08:49:37 GMT' });
      response.write('con');
      setImmediate(() => response.end('flict'));
    });
    const { statusCode, headers, bytes } = await scene.get();
    assert.deepEqual([statusCode, bytes.toString()], [409, 'conflict']);
    assert.equal(headers['date'], 'Sun, 06 Nov 1994 08:49:37 GMT');
  });

  it('ends a body over the limit', async () => {
    await using scene = await Scene.start((_, response) => response.end('x'.repeat(1_001)));
    assert.equal((await failureOf(scene.get(1_000))).code, 'API_BAD_RESPONSE');
    assert.equal((await scene.get(1_001)).bytes.length, 1_001);
  });

  it('rejects when the connection breaks within the body', async () => {
    await using scene = await Scene.start((_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('part');
      setImmediate(() => response.destroy());
    });
    await assert.rejects(scene.get(), { code: 'UND_ERR_SOCKET' });
  });

  const moments: readonly [string, RequestListener][] = [
    ['before a response', () => undefined],
    ['within the body', (_, response) => response.write('part')],
  ];
  for (const [moment, listener] of moments) {
    it(`rejects with the reason of a signal that fires ${moment}`, async () => {
      const asked = Promise.withResolvers<void>();
      await using scene = await Scene.start((request, response) => {
        listener(request, response);
        asked.resolve();
      });
      const [first, queued] = [scene.get(), scene.get()];
      await asked.promise;
      const reason = new Error('enough');
      scene.stop.abort(reason);
      // The second request has no connection yet.
      await assert.rejects(first, reason);
      await assert.rejects(queued, reason);
      await assert.rejects(scene.get(), reason);
    });
  }
});
