import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import * as v from 'valibot';
import type { ApiRequestRecord } from '../../src/core/enroller-protocol.ts';
import { second } from '../../src/core/instant.ts';
import { splitLines } from '../../src/kube/body.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import type { WatchEvent } from '../../src/kube/watch.ts';
import { watch } from '../../src/kube/watch.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ApiServer, clientOf, sendStatus } from './support/api-server.ts';
import { gone } from './support/certificates-api.ts';
import { failureOf, never } from './support/requests.ts';

const schema = v.object({ text: v.string() });

function open(
  client: KubeClient,
  signal = never,
): AsyncGenerator<WatchEvent<{ text: string }>, void, void> {
  return watch(client, {
    path: '/things',
    fieldSelector: 'metadata.name=one',
    resourceVersion: '7',
    timeoutSeconds: 400,
    schema,
    signal,
  });
}

async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const event of events) all.push(event);
  return all;
}

function bookmark(version: string): unknown {
  return { type: 'BOOKMARK', object: { metadata: { resourceVersion: version } } };
}

function added(text: string): unknown {
  return { type: 'ADDED', object: { text } };
}

function lines(...events: unknown[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join('');
}

/** A server that responds to each watch with these bytes and then ends the watch. */
async function serving(
  body: string,
  respond = (response: ServerResponse) => response.end(body),
): Promise<ApiServer> {
  return ApiServer.start((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    respond(response);
  });
}

describe('watch()', () => {
  it('requests one object after a version, with bookmarks and a timeout', async () => {
    await using server = await serving('');
    await using client = await clientOf(server);
    assert.deepEqual(await collect(open(client)), []);
    assert.equal(
      server.requests[0]?.url,
      '/things?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3Done&resourceVersion=7&timeoutSeconds=400',
    );
  });

  it('yields events in order for any split of the bytes', async () => {
    const body = Buffer.from(
      lines(added('grüße 🌍'), { type: 'MODIFIED', object: { text: 'b' } }, bookmark('9'), {
        type: 'DELETED',
        object: { text: 'c' },
      }),
    );
    await using server = await serving('', (response) => {
      for (const byte of body) response.write(Buffer.from([byte]));
      return response.end();
    });
    await using client = await clientOf(server);
    assert.deepEqual(await collect(open(client)), [
      { type: 'ADDED', object: { text: 'grüße 🌍' } },
      { type: 'MODIFIED', object: { text: 'b' } },
      { type: 'BOOKMARK', resourceVersion: '9', initialEventsEnd: false },
      { type: 'DELETED', object: { text: 'c' } },
    ]);
  });

  it('yields an event as soon as its line is complete', async () => {
    await using server = await serving('', (response) => {
      response.write(lines(added('now')));
      return response;
    });
    await using client = await clientOf(server);
    const events = open(client);
    assert.deepEqual((await events.next()).value, { type: 'ADDED', object: { text: 'now' } });
    await events.return();
  });

  const bad: readonly [string, string, RegExp][] = [
    ['garbage', 'not json\n', /not JSON/],
    ['a truncated event', lines(added('a')).slice(0, -5), /not JSON/],
    ['an unknown type', lines({ type: 'RENAMED', object: {} }), /type must be/],
    ['an object of another shape', lines({ type: 'ADDED', object: {} }), /text must be/],
    ['a bookmark without a version', lines({ type: 'BOOKMARK', object: {} }), /metadata must be/],
    ['an error without a code', lines({ type: 'ERROR', object: {} }), /without a status code/],
    ['an endless line', 'x'.repeat(2 * 1024 * 1024), /longer than 1048576 bytes/],
  ];
  for (const [name, body, message] of bad) {
    it(`rejects ${name} as API_BAD_RESPONSE`, async () => {
      await using server = await serving(body);
      await using client = await clientOf(server);
      const failure = await failureOf(collect(open(client)));
      assert.equal(failure.code, 'API_BAD_RESPONSE');
      assert.match(failure.message, message);
    });
  }

  it('turns an ERROR event into the code of its status', async () => {
    await using server = await serving(lines(gone()));
    await using client = await clientOf(server);
    assert.equal((await failureOf(collect(open(client)))).code, 'API_GONE');
    const throttled = {
      kind: 'Status',
      apiVersion: 'v1',
      code: 429,
      details: { retryAfterSeconds: 2 },
    };
    await using busy = await serving(lines({ type: 'ERROR', object: throttled }));
    await using other = await clientOf(busy);
    const failure = await failureOf(collect(open(other)));
    assert.deepEqual([failure.code, failure.retryAfterMs], ['API_THROTTLED', 2 * second]);
  });

  it('turns the status of a rejected watch into its code', async () => {
    await using server = await ApiServer.start((_, response) => {
      sendStatus(response, 403, { reason: 'Forbidden', message: 'no' });
    });
    await using client = await clientOf(server);
    assert.equal((await failureOf(collect(open(client)))).code, 'API_FORBIDDEN');
  });

  it('reports a connection that breaks', async () => {
    await using server = await serving('', (response) => {
      response.write(lines(added('a')), () => response.destroy());
      return response;
    });
    await using client = await clientOf(server);
    const events = open(client);
    await events.next();
    assert.equal((await failureOf(events.next())).code, 'API_UNREACHABLE');
  });

  it('ends an active stream 30 s after its timeout', async () => {
    const clock = new FakeClock();
    const { promise, resolve } = Promise.withResolvers<ServerResponse>();
    await using server = await serving('', (response) => {
      response.write(lines(bookmark('1')));
      resolve(response);
      return response;
    });
    await using client = await clientOf(server, { clock });
    const events = open(client);
    await events.next();
    const response = await promise;
    const closed = once(response, 'close');
    const failing = failureOf(events.next());
    await clock.advance(429 * second);
    assert.equal(response.destroyed, false);
    await clock.advance(second);
    const failure = await failing;
    assert.equal(failure.code, 'API_TIMEOUT');
    assert.match(failure.message, /watch \/things: no complete response within 430 s/);
    await closed;
  });

  it('throws API_TIMEOUT when no response begins within 30 s', async () => {
    const clock = new FakeClock();
    const { promise, resolve } = Promise.withResolvers<void>();
    await using server = await ApiServer.start(() => {
      resolve();
    });
    await using client = await clientOf(server, { clock });
    const failing = failureOf(open(client).next());
    await promise;
    await clock.advance(30 * second);
    assert.equal((await failing).code, 'API_TIMEOUT');
  });

  it('ends with its signal, closes its connection and is recorded once', async () => {
    const records: ApiRequestRecord[] = [];
    const controller = new AbortController();
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    await using server = await serving('', (response) => {
      response.write(lines(added('a')));
      response.on('close', resolve);
      return response;
    });
    const client = await clientOf(server, { onRequest: (record) => records.push(record) });
    const events = open(client, controller.signal);
    await events.next();
    const failing = failureOf(events.next());
    controller.abort();
    assert.equal((await failing).code, 'ABORTED');
    await closed;
    await client.close();
    assert.deepEqual(
      records.map(({ verb, code }) => `${verb} ${code}`),
      ['watch 200'],
    );
    assert.equal(server.connections, 1);
  });
});

describe('splitLines()', () => {
  it('yields the same lines for any split of the bytes', async () => {
    const text = fc.array(fc.string({ unit: 'binary' }).filter((line) => !line.includes('\n')));
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat(40)), async (wanted, cuts) => {
        const bytes = Buffer.from(wanted.map((line) => `${line}\n`).join(''));
        async function* chunks(): AsyncGenerator<Buffer, void, void> {
          let at = 0;
          for (const cut of cuts) {
            yield bytes.subarray(at, at + cut);
            at += cut;
          }
          yield bytes.subarray(at);
        }
        const found = await collect(splitLines(chunks(), { limit: 4096, what: 'a line' }));
        assert.deepEqual(
          found.map((line) => line.toString()),
          wanted,
        );
      }),
    );
  });
});
