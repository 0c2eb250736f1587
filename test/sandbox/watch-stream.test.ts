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

/** The events of a watch. `next()` rejects at the end of the stream. */
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

/** Advances the fake clock when the watch of the server sleeps on it, beside the cleaner. */
async function advance({ clock }: Running, ms: number): Promise<void> {
  while (clock.sleeping < 2) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(ms);
}

describe('watching', { timeout: 20_000 }, () => {
  for (const query of ['', '&resourceVersion=0', '&resourceVersion=']) {
    it(`begins with the existing objects: ?watch=true${query}`, async () => {
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

  it('continues after a resourceVersion without a gap or a repetition', async () => {
    await using running = await run(passive);
    const [, second = ''] = await create(running, 'a', 'b', 'c');
    running.sandbox.deleteCsr('a');
    await using watch = new Watch(running.bootstrapper, `&resourceVersion=${second}`);
    assert.equal(await watch.summary(), 'ADDED c');
    assert.equal(await watch.summary(), 'DELETED a');
    await create(running, 'd');
    assert.equal(await watch.summary(), 'ADDED d');
  });

  it('shows approval and certificate after the resourceVersion of the POST', async () => {
    await using running = await run();
    const [version = ''] = await create(running, 'mine');
    const query = `&resourceVersion=${version}&fieldSelector=metadata.name%3Dmine`;
    await using watch = new Watch(running.bootstrapper, query);
    const approved = (await watch.next()).object as unknown as { status: object };
    assert.ok('conditions' in approved.status && !('certificate' in approved.status));
    const issued = (await watch.next()).object as unknown as { status: object };
    assert.ok('certificate' in issued.status);
  });

  it('sends events of the selected object only', async () => {
    await using running = await run(passive);
    await create(running, 'a', 'b');
    await using watch = new Watch(running.bootstrapper, '&fieldSelector=metadata.name%3Db');
    assert.equal(await watch.summary(), 'ADDED b');
    running.sandbox.deleteCsr('a');
    running.sandbox.deleteCsr('b');
    assert.equal(await watch.summary(), 'DELETED b');
  });

  it('ends with an ERROR event 410 when the history is too short', async () => {
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

  it('answers 400 to an invalid resourceVersion', async () => {
    await using running = await run(passive);
    for (const query of ['resourceVersion=abc', 'resourceVersion=-1', 'timeoutSeconds=1.5']) {
      const path = `${csrsPath}?watch=true&${query}`;
      assert.equal((await running.bootstrapper.request({ method: 'GET', path })).status, 400);
    }
  });

  it('ends after timeoutSeconds', async () => {
    await using running = await run(passive);
    await create(running, 'a');
    await using watch = new Watch(running.bootstrapper, '&timeoutSeconds=90');
    assert.equal(await watch.summary(), 'ADDED a');
    await advance(running, 90 * second);
    assert.ok(await watch.over());
  });

  it('sends a bookmark with the newest resourceVersion every minute', async () => {
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

  it('marks the end of the initial events when the client wants that', async () => {
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

  it('appears once in the audit log, with the selected name', async () => {
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

  it('breaks when the server releases its port, and another continues', async () => {
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
