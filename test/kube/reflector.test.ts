import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import type { Failure } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import type { Reflection } from '../../src/kube/reflector.ts';
import { Reflector } from '../../src/kube/reflector.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ApiServer, clientOf, sendJson, sendStatus } from './support/api-server.ts';
import { gone } from './support/certificates-api.ts';
import { failureOf } from './support/requests.ts';

interface Thing {
  readonly name: string;
  readonly resourceVersion: string;
}

const schema = v.pipe(
  v.object({ metadata: v.object({ name: v.string(), resourceVersion: v.string() }) }),
  v.transform(({ metadata }): Thing => metadata),
);

function thing(name: string, version: number): object {
  return { metadata: { name, resourceVersion: String(version) } };
}

function event(type: string, name: string, version: number): object {
  return { type, object: thing(name, version) };
}

function bookmark(version: number, annotations?: object): object {
  const metadata = { resourceVersion: String(version), ...(annotations && { annotations }) };
  return { type: 'BOOKMARK', object: { metadata } };
}

function initialEnd(version: number): object {
  return bookmark(version, { 'k8s.io/initial-events-end': 'true' });
}

interface Exchange {
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
  send(...events: readonly object[]): void;
}

/** A reflector whose API server answers each request as the test says. */
class Scene implements AsyncDisposable, Reflection<Thing> {
  readonly clock = new FakeClock();
  readonly things = new Map<string, string>();
  readonly failures: Failure[] = [];
  recoveries = 0;
  isCurrent = false;
  syncs = 0;
  readonly #server: ApiServer;
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  readonly #requests: Exchange[] = [];
  #run: Promise<unknown> = Promise.resolve();
  #next: (() => void) | undefined;

  private constructor(server: ApiServer, client: KubeClient) {
    this.#server = server;
    this.#client = client;
    server.handler = (request, response) => {
      const { searchParams: query } = new URL(request.url ?? '', server.url);
      const send = (...events: readonly object[]): void => {
        for (const one of events) response.write(`${JSON.stringify(one)}\n`);
      };
      this.#requests.push({ query, response, send });
      this.#next?.();
    };
  }

  static async start(): Promise<Scene> {
    const server = await ApiServer.start(() => {});
    const scene = new Scene(server, await clientOf(server));
    const reflector = new Reflector(
      { client: () => scene.#client, clock: scene.clock, random: () => 0 },
      {
        path: '/things',
        fieldSelector: 'spec.color=red',
        schema,
        reflection: scene,
        onRetry: (failure) => scene.failures.push(failure),
        onRecovered: () => {
          scene.recoveries += 1;
        },
      },
    );
    scene.#run = failureOf(reflector.run(scene.#stop.signal));
    return scene;
  }

  names(): Iterable<string> {
    return this.things.keys();
  }

  set({ name, resourceVersion }: Thing): void {
    this.things.set(name, resourceVersion);
  }

  delete(name: string): void {
    this.things.delete(name);
  }

  synced(): void {
    this.syncs += 1;
    this.isCurrent = true;
  }

  outdated(): void {
    this.isCurrent = false;
  }

  /** The next request; lets time pass until it arrives. */
  async request(): Promise<Exchange> {
    return this.until(() => this.#requests.shift());
  }

  async watch(): Promise<Exchange> {
    const exchange = await this.request();
    assert.equal(exchange.query.get('watch'), 'true');
    exchange.response.writeHead(200, { 'content-type': 'application/json' });
    exchange.response.flushHeaders();
    return exchange;
  }

  async until<T>(found: () => T | undefined | false): Promise<T> {
    for (;;) {
      const result = found();
      if (result !== undefined && result !== false) return result;
      await this.clock.advance(second / 4);
    }
  }

  get state(): object {
    return Object.fromEntries(this.things);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
    await this.#server[Symbol.asyncDispose]();
    await this.#client.close();
  }
}

describe('Reflector', () => {
  it('reads the existing objects with a watch, and applies the changes', async () => {
    await using scene = await Scene.start();
    const watch = await scene.watch();
    assert.deepEqual(Object.fromEntries(watch.query), {
      watch: 'true',
      allowWatchBookmarks: 'true',
      fieldSelector: 'spec.color=red',
      sendInitialEvents: 'true',
      resourceVersionMatch: 'NotOlderThan',
      timeoutSeconds: '300',
    });
    watch.send(event('ADDED', 'a', 1), event('ADDED', 'b', 2), initialEnd(5));
    await scene.until(() => scene.syncs === 1);
    assert.deepEqual(scene.state, { a: '1', b: '2' });
    watch.send(event('MODIFIED', 'a', 6), event('DELETED', 'b', 7), event('ADDED', 'c', 8));
    await scene.until(() => scene.things.has('c'));
    assert.deepEqual(scene.state, { a: '6', c: '8' });
  });

  it('continues at the last version when the server ends the watch', async () => {
    await using scene = await Scene.start();
    const first = await scene.watch();
    first.send(initialEnd(5), event('ADDED', 'a', 6), bookmark(9));
    first.response.end();
    const second = await scene.watch();
    assert.equal(second.query.get('resourceVersion'), '9');
    assert.equal(second.query.get('sendInitialEvents'), null);
    assert.deepEqual([scene.syncs, scene.failures], [1, []]);
  });

  it('continues at the last version after a broken connection', async () => {
    await using scene = await Scene.start();
    const first = await scene.watch();
    first.send(initialEnd(5), event('ADDED', 'a', 6));
    await scene.until(() => scene.things.has('a'));
    assert.ok(scene.isCurrent);
    first.response.destroy();
    const second = await scene.watch();
    assert.equal(second.query.get('resourceVersion'), '6');
    await scene.until(() => scene.recoveries === 1);
    assert.ok(!scene.isCurrent);
    await scene.clock.advance(1_000);
    assert.ok(scene.isCurrent);
    assert.deepEqual(
      scene.failures.map(({ code }) => code),
      ['API_UNREACHABLE'],
    );
  });

  it('begins again when a watch of existing objects ends early', async () => {
    await using scene = await Scene.start();
    const first = await scene.watch();
    first.send(event('ADDED', 'a', 6));
    first.response.end();
    const second = await scene.watch();
    assert.equal(second.query.get('sendInitialEvents'), 'true');
    assert.equal(scene.syncs, 0);
    assert.deepEqual(
      scene.failures.map(({ code }) => code),
      ['API_UNREACHABLE'],
    );
  });

  it('waits longer after each watch that ends at once, and is not current meanwhile', async () => {
    await using scene = await Scene.start();
    const first = await scene.watch();
    first.send(initialEnd(5));
    await scene.until(() => scene.isCurrent);
    first.response.end();
    const times: number[] = [];
    for (let watches = 0; watches < 5; watches += 1) {
      const watch = await scene.watch();
      times.push(scene.clock.elapsed());
      watch.response.end();
    }
    const delays = times.slice(1).map((time, at) => time - (times[at] ?? 0));
    for (const [at, delay] of delays.entries()) {
      const least = (second / 2) * 2 ** at;
      assert.ok(delay >= least && delay <= least + second, `${at}: ${delay} ms`);
    }
    assert.ok(!scene.isCurrent);
    const last = await scene.watch();
    last.send(event('ADDED', 'a', 6));
    await scene.until(() => scene.isCurrent);
    assert.deepEqual(scene.state, { a: '6' });
  });

  it('reads everything again after 410, and removes what is gone', async () => {
    await using scene = await Scene.start();
    const first = await scene.watch();
    first.send(event('ADDED', 'a', 1), event('ADDED', 'b', 2), initialEnd(5), gone());
    const again = await scene.watch();
    assert.ok(!scene.isCurrent);
    assert.equal(again.query.get('sendInitialEvents'), 'true');
    again.send(event('ADDED', 'b', 2), event('ADDED', 'c', 8), initialEnd(9));
    await scene.until(() => scene.syncs === 2);
    assert.deepEqual(scene.state, { b: '2', c: '8' });
    assert.ok(scene.isCurrent);
    assert.deepEqual(scene.failures, []);
  });

  const withoutWatchList: readonly [string, (exchange: Exchange) => void][] = [
    [
      'refuses sendInitialEvents',
      ({ response }) => {
        sendStatus(response, 422, { reason: 'Invalid' });
      },
    ],
    [
      'ignores sendInitialEvents',
      (exchange) => {
        exchange.response.writeHead(200);
        exchange.send(event('ADDED', 'old', 1));
      },
    ],
  ];
  for (const [what, answer] of withoutWatchList) {
    it(`reads pages from a server that ${what}`, async () => {
      await using scene = await Scene.start();
      answer(await scene.request());
      const first = await scene.request();
      assert.deepEqual(Object.fromEntries(first.query), {
        limit: '500',
        fieldSelector: 'spec.color=red',
      });
      const page = {
        metadata: { resourceVersion: '4', continue: 'token' },
        items: [thing('a', 1)],
      };
      sendJson(first.response, page);
      const next = await scene.request();
      assert.equal(next.query.get('continue'), 'token');
      sendJson(next.response, { metadata: { resourceVersion: '4' }, items: [thing('b', 3)] });
      const watch = await scene.watch();
      assert.equal(watch.query.get('resourceVersion'), '4');
      assert.deepEqual(scene.state, { a: '1', b: '3' });
      assert.deepEqual([scene.syncs, scene.failures], [1, []]);
    });
  }

  it('asks for shorter pages if a page does not match the API', async () => {
    await using scene = await Scene.start();
    sendStatus((await scene.request()).response, 422, { reason: 'Invalid' });
    (await scene.request()).response.end('{"metadata":');
    assert.equal((await scene.request()).query.get('limit'), '63');
  });

  it('waits longer after each failure, and as long as Retry-After says', async () => {
    await using scene = await Scene.start();
    const times: number[] = [];
    for (const headers of [{}, {}, {}, { 'retry-after': '7' }, {}]) {
      const { response } = await scene.request();
      times.push(scene.clock.elapsed());
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      sendStatus(response, 429, { reason: 'TooManyRequests' });
    }
    const delays = times.slice(1).map((time, at) => time - (times[at] ?? 0));
    const wanted = [second / 2, second, 2 * second, 7 * second];
    for (const [at, least] of wanted.entries()) {
      const delay = delays[at] ?? 0;
      assert.ok(delay >= least && delay <= least + second, `${at}: ${delay} ms`);
    }
  });

  it('notices a watch that went silent when the watch should have ended', async () => {
    await using scene = await Scene.start();
    const watch = await scene.watch();
    watch.send(initialEnd(5));
    await scene.until(() => scene.syncs === 1);
    await scene.clock.advance(10 * minute);
    const next = await scene.watch();
    assert.equal(next.query.get('resourceVersion'), '5');
  });
});
