import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute, second } from '../../src/core/instant.ts';
import type { ApiClient } from '../support/api-client.ts';
import { csrBody, csrsPath, makeRequest, run } from './fixtures.ts';
import type { Running } from './fixtures.ts';

interface WatchEvent {
  readonly type: string;
  readonly object: {
    readonly kind: string;
    readonly metadata: {
      readonly name?: string;
      readonly resourceVersion: string;
      readonly annotations?: Readonly<Record<string, string>>;
    };
    readonly code?: number;
    readonly reason?: string;
  };
}

/** The events of a watch, one at a time; `next()` fails when the stream is over. */
class Watch implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #events: AsyncGenerator;

  constructor(client: ApiClient, query: string) {
    this.#events = client.watch(`${csrsPath}?watch=true${query}`, this.#stop.signal);
  }

  async next(): Promise<WatchEvent> {
    const { done, value } = (await this.#events.next()) as IteratorResult<WatchEvent>;
    assert.notEqual(done, true, 'the watch is over');
    return value;
  }

  /** `TYPE name`. */
  async summary(): Promise<string> {
    const { type, object } = await this.next();
    return [type, object.metadata.name].filter(Boolean).join(' ');
  }

  async over(): Promise<boolean> {
    return (await this.#events.next()).done === true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#events.return(undefined);
  }
}

async function create(running: Running, ...names: readonly string[]): Promise<string[]> {
  const { pem } = await makeRequest();
  const versions: string[] = [];
  for (const name of names) {
    const body = csrBody(name, pem);
    const created = await running.bootstrapper.must({ method: 'POST', path: csrsPath, body });
    versions.push((created as WatchEvent['object']).metadata.resourceVersion);
  }
  return versions;
}

const passive = { approving: false, signing: false };

/** Lets time pass on the fake clock once the server's watch waits on it, as the cleaner always does. */
async function advance({ clock }: Running, ms: number): Promise<void> {
  while (clock.sleeping < 2) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(ms);
}

describe('watching', { timeout: 20_000 }, () => {
  for (const query of ['', '&resourceVersion=0', '&resourceVersion=']) {
    it(`begins with what there is: ?watch=true${query}`, async () => {
      await using running = await run(passive);
      await create(running, 'b', 'a');
      await using watch = new Watch(running.bootstrapper, query);
      assert.equal(await watch.summary(), 'ADDED a');
      assert.equal(await watch.summary(), 'ADDED b');
      running.sandbox.approve('a');
      assert.equal(await watch.summary(), 'MODIFIED a');
      running.sandbox.deleteCsr('a');
      assert.equal(await watch.summary(), 'DELETED a');
    });
  }

  it('continues after a resourceVersion, with nothing lost and nothing twice', async () => {
    await using running = await run(passive);
    const [, second = ''] = await create(running, 'a', 'b', 'c');
    running.sandbox.deleteCsr('a');
    await using watch = new Watch(running.bootstrapper, `&resourceVersion=${second}`);
    assert.equal(await watch.summary(), 'ADDED c');
    assert.equal(await watch.summary(), 'DELETED a');
    await create(running, 'd');
    assert.equal(await watch.summary(), 'ADDED d');
  });

  it('shows approval and issue after the resourceVersion that POST returned', async () => {
    await using running = await run();
    const [version = ''] = await create(running, 'mine');
    const query = `&resourceVersion=${version}&fieldSelector=metadata.name%3Dmine`;
    await using watch = new Watch(running.bootstrapper, query);
    const approved = (await watch.next()).object as unknown as { status: object };
    assert.ok('conditions' in approved.status && !('certificate' in approved.status));
    const issued = (await watch.next()).object as unknown as { status: object };
    assert.ok('certificate' in issued.status);
  });

  it('tells of the one selected only', async () => {
    await using running = await run(passive);
    await create(running, 'a', 'b');
    await using watch = new Watch(running.bootstrapper, '&fieldSelector=metadata.name%3Db');
    assert.equal(await watch.summary(), 'ADDED b');
    running.sandbox.deleteCsr('a');
    running.sandbox.deleteCsr('b');
    assert.equal(await watch.summary(), 'DELETED b');
  });

  it('answers with an ERROR event 410 when the history is too short, and ends', async () => {
    await using running = await run({ ...passive, historyLimit: 2 });
    const [first = ''] = await create(running, 'a', 'b', 'c', 'd');
    await using watch = new Watch(running.bootstrapper, `&resourceVersion=${first}`);
    const { type, object } = await watch.next();
    assert.equal(type, 'ERROR');
    assert.equal(object.kind, 'Status');
    assert.equal(object.code, 410);
    assert.equal(object.reason, 'Expired');
    assert.ok(await watch.over());
  });

  it('answers 400 to a resourceVersion that is none', async () => {
    await using running = await run(passive);
    for (const query of ['resourceVersion=abc', 'resourceVersion=-1', 'timeoutSeconds=1.5']) {
      const path = `${csrsPath}?watch=true&${query}`;
      assert.equal((await running.bootstrapper.request({ method: 'GET', path })).status, 400);
    }
  });

  it('ends when its time is over', async () => {
    await using running = await run(passive);
    await create(running, 'a');
    await using watch = new Watch(running.bootstrapper, '&timeoutSeconds=90');
    assert.equal(await watch.summary(), 'ADDED a');
    await advance(running, 90 * second);
    assert.ok(await watch.over());
  });

  it('sends bookmarks with the newest resourceVersion once a minute, to who allows them', async () => {
    await using running = await run(passive);
    await create(running, 'a');
    const query = '&allowWatchBookmarks=true&timeoutSeconds=90&fieldSelector=metadata.name%3Da';
    await using watch = new Watch(running.bootstrapper, query);
    assert.equal(await watch.summary(), 'ADDED a');
    const [newest = ''] = await create(running, 'other');
    await advance(running, minute);
    const bookmark = await watch.next();
    assert.equal(bookmark.type, 'BOOKMARK');
    assert.equal(bookmark.object.kind, 'CertificateSigningRequest');
    assert.equal(bookmark.object.metadata.resourceVersion, newest);
    await advance(running, 30 * second);
    assert.equal(await watch.summary(), 'BOOKMARK');
    assert.ok(await watch.over());
  });

  it('marks the end of the initial events when they are asked for', async () => {
    await using running = await run(passive);
    const [version = ''] = await create(running, 'a');
    await using watch = new Watch(
      running.bootstrapper,
      `&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&resourceVersion=${version}`,
    );
    assert.equal(await watch.summary(), 'ADDED a');
    const { type, object } = await watch.next();
    assert.equal(type, 'BOOKMARK');
    assert.deepEqual(object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
  });

  it('is counted once in the audit log, with the name it selects', async () => {
    await using running = await run(passive);
    await create(running, 'a');
    await using watch = new Watch(running.bootstrapper, '&fieldSelector=metadata.name%3Da');
    await watch.next();
    const watches = running.sandbox.audit().filter(({ verb }) => verb === 'watch');
    assert.deepEqual(
      watches.map(({ name, code }) => ({ name, code })),
      [{ name: 'a', code: 200 }],
    );
  });

  it('breaks when the server leaves its port, and another one can continue it', async () => {
    await using running = await run(passive);
    const [version = ''] = await create(running, 'a');
    await using broken = new Watch(running.bootstrapper, '');
    assert.equal(await broken.summary(), 'ADDED a');
    const failure = assert.rejects(broken.next());
    await running.sandbox.stopListening();
    await failure;
    running.sandbox.approve('a');
    await running.sandbox.startListening();
    const client = running.connect({ token: 'abcdef.0123456789abcdef' });
    await using watch = new Watch(client, `&resourceVersion=${version}`);
    assert.equal(await watch.summary(), 'MODIFIED a');
  });
});
