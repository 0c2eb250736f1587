import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { ApproverClient } from '../../src/app/approver-client.ts';
import { hour, second } from '../../src/core/instant.ts';
import { accessTo, ApiServer, sendJson } from '../kube/support/api-server.ts';
import { get } from '../kube/support/requests.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** A client with the token of a file, and the file. */
class Scene implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly client: ApproverClient;
  readonly tokenFile: string;
  loads = 0;
  /** The Date header of the API server. */
  date = new Date(this.clock.now()).toUTCString();
  broken = false;
  readonly #server: ApiServer;

  private constructor(server: ApiServer, folder: string) {
    this.#server = server;
    this.tokenFile = join(folder, 'token');
    server.handler = (request, response) => {
      response.setHeader('date', this.date);
      sendJson(response, request.headers.authorization);
    };
    this.client = new ApproverClient({
      load: async () => {
        this.loads += 1;
        if (this.broken) throw new Error('unreadable');
        return accessTo(server, { user: { tokenFile: this.tokenFile } });
      },
      clock: this.clock,
      onRequest: () => undefined,
    });
  }

  static async open(context: TestContext): Promise<Scene> {
    const server = await ApiServer.start(() => undefined);
    const scene = new Scene(server, await temporaryDirectory(context));
    await writeFile(scene.tokenFile, 'one');
    await scene.client.refresh();
    return scene;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
  }
}

describe('ApproverClient', () => {
  it('refresh() uses a renewed token at once', async (context) => {
    await using scene = await Scene.open(context);
    const first = scene.client.current();
    assert.equal(await get(first), 'Bearer one');
    await writeFile(scene.tokenFile, 'two');
    await scene.clock.advance(10 * second);
    await scene.client.refresh();
    assert.equal(await get(scene.client.current()), 'Bearer two');
    await assert.rejects(get(first), { code: 'ABORTED' });
  });

  it('refresh() opens one client for requests that fail together', async (context) => {
    await using scene = await Scene.open(context);
    await scene.client.refresh();
    await scene.clock.advance(10 * second - 1);
    await scene.client.refresh();
    assert.equal(scene.loads, 1);
    await scene.clock.advance(1);
    await Promise.all([scene.client.refresh(), scene.client.refresh(), scene.client.refresh()]);
    assert.equal(scene.loads, 2);
  });

  it('refresh() keeps the client if the credential cannot be read', async (context) => {
    await using scene = await Scene.open(context);
    scene.broken = true;
    await scene.clock.advance(10 * second);
    await assert.rejects(scene.client.refresh(), /unreadable/);
    assert.equal(await get(scene.client.current()), 'Bearer one');
    scene.broken = false;
    await scene.clock.advance(10 * second);
    await scene.client.refresh();
    assert.equal(scene.loads, 3);
  });

  it('serverNow() is the time of the API server, not of this machine', async (context) => {
    await using scene = await Scene.open(context);
    assert.equal(scene.client.serverNow(), scene.clock.now());
    scene.date = new Date(scene.clock.now() - hour).toUTCString();
    await get(scene.client.current());
    assert.ok(Math.abs(scene.client.serverNow() - (scene.clock.now() - hour)) <= second);
  });
});
