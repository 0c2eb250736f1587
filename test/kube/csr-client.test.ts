import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Failure } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import type { CsrInput, CsrOutcome } from '../../src/kube/csr-client.ts';
import { CsrClient } from '../../src/kube/csr-client.ts';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { clientOf, sendJson, sendStatus } from './support/api-server.ts';
import type { CsrParts, OpenWatch } from './support/certificates-api.ts';
import {
  CertificatesApi,
  approved,
  certificatePem,
  csrObject,
  gone,
  requestPem,
} from './support/certificates-api.ts';
import { failureOf, never } from './support/requests.ts';

const input: CsrInput = {
  name: 'csr-1',
  request: new TextEncoder().encode(requestPem),
  signerName: 'example.com/signer',
  usages: ['digital signature', 'client auth'],
};
const issuedParts: CsrParts = { version: 20, conditions: [approved], certificate: certificatePem };

function modified(parts: CsrParts): unknown {
  return { type: 'MODIFIED', object: csrObject(parts) };
}

/** A CSR client for an API on loopback, with a clock that only the test moves. */
class Scene implements AsyncDisposable {
  readonly api: CertificatesApi;
  readonly clock = new FakeClock();
  readonly troubles: Failure[] = [];
  /** The number of failures before each recovery. */
  readonly calms: number[] = [];
  readonly approvals: number[] = [];
  readonly holds: string[] = [];
  readonly csrs: CsrClient;
  client: KubeClient;
  random = 0;

  private constructor(api: CertificatesApi, client: KubeClient) {
    this.api = api;
    this.client = client;
    this.csrs = new CsrClient({
      client: () => this.client,
      clock: this.clock,
      random: () => this.random,
    });
  }

  static async start(): Promise<Scene> {
    const api = await CertificatesApi.start();
    return new Scene(api, await clientOf(api.server));
  }

  /** Creates the CSR and waits for its outcome. */
  async wait(signal = never): Promise<{ outcome: Promise<CsrOutcome> }> {
    const csr = await this.csrs.create(input, signal);
    const outcome = this.csrs.waitForOutcome({
      csr,
      onApproved: () => this.approvals.push(this.clock.now()),
      onHeld: ({ reason, remedy }) => this.holds.push(`${reason}: ${remedy}`),
      onRetry: (failure) => this.troubles.push(failure),
      onRecovered: () => this.calms.push(this.troubles.length),
      signal,
    });
    return { outcome };
  }

  /** Advances the clock in small steps until the next watch opens. */
  async nextWatch(): Promise<OpenWatch> {
    return await this.until(this.api.watch());
  }

  async until<T>(promise: Promise<T>): Promise<T> {
    const state = { done: false };
    const settled = promise.finally(() => {
      state.done = true;
    });
    settled.catch(() => {});
    for (let steps = 0; !state.done; steps += 1) {
      assert(steps < 5_000, 'nothing came of it within 250 s');
      await this.clock.advance(50);
      // The sockets are real: on a loaded machine, fake time would overtake them.
      if (steps > 500) await setTimeout(2);
    }
    return await settled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The server first: after a failure a watch may be open, which the client would wait for.
    await this.api[Symbol.asyncDispose]();
    await this.client.close();
  }
}

/** Responds to each POST with a created object, and collects the bodies. */
function collectPosts(scene: Scene): unknown[] {
  const posts: unknown[] = [];
  scene.api.answer = (request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      posts.push(JSON.parse(body));
      sendJson(response, csrObject(), 201);
    });
  };
  return posts;
}

function issued(outcome: CsrOutcome): string {
  assert.equal(outcome.kind, 'issued');
  return new TextDecoder().decode(outcome.kind === 'issued' ? outcome.pem : undefined);
}

describe('CsrClient.create()', () => {
  it('sends the fields of certificates.k8s.io/v1', async () => {
    await using scene = await Scene.start();
    const posts = collectPosts(scene);
    const csr = await scene.csrs.create({ ...input, expirationSeconds: 600 }, never);
    assert.deepEqual(csr, {
      name: 'csr-1',
      uid: 'uid-1',
      resourceVersion: '10',
      createdAt: Date.UTC(2026, 0, 1),
      status: { conditions: [] },
    });
    assert.equal(
      scene.api.server.requests[0]?.url,
      '/apis/certificates.k8s.io/v1/certificatesigningrequests',
    );
    assert.deepEqual(posts, [
      {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name: 'csr-1' },
        spec: {
          request: Buffer.from(requestPem).toString('base64'),
          signerName: 'example.com/signer',
          usages: ['digital signature', 'client auth'],
          expirationSeconds: 600,
        },
      },
    ]);
  });

  it('leaves the lifetime to the signer by default, as the kubelet does', async () => {
    await using scene = await Scene.start();
    const posts = collectPosts(scene);
    await scene.csrs.create(input, never);
    const [{ spec }] = posts as [{ spec: object }];
    assert.deepEqual(Object.keys(spec), ['request', 'signerName', 'usages']);
  });

  it('requests no older version than v1', async () => {
    await using scene = await Scene.start();
    scene.api.answer = (_, response) => {
      response.writeHead(404).end('404 page not found');
    };
    assert.equal((await failureOf(scene.csrs.create(input, never))).code, 'API_BAD_RESPONSE');
    assert.deepEqual(
      scene.api.server.requests.map(({ url }) => url),
      ['/apis/certificates.k8s.io/v1/certificatesigningrequests'],
    );
  });

  it('finds the CSR when the response to an earlier POST was lost', async () => {
    await using scene = await Scene.start();
    let posts = 0;
    scene.api.answer = (request, response) => {
      if (request.method === 'GET') sendJson(response, csrObject());
      else if ((posts += 1) === 1) response.destroy();
      else sendStatus(response, 409, { reason: 'AlreadyExists' });
    };
    assert.equal((await failureOf(scene.csrs.create(input, never))).code, 'API_UNREACHABLE');
    assert.equal((await scene.csrs.create(input, never)).uid, 'uid-1');
    assert.deepEqual(scene.api.log, ['POST', 'POST', 'GET']);
  });

  for (const [name, other] of [
    ['request', { request: 'another' }],
    ['signer', { signerName: 'example.com/other' }],
  ] as const) {
    it(`throws API_CONFLICT when a CSR with this name has another ${name}`, async () => {
      await using scene = await Scene.start();
      scene.api.answer = (request, response) => {
        if (request.method === 'GET') sendJson(response, csrObject(other));
        else sendStatus(response, 409, { reason: 'AlreadyExists' });
      };
      const failure = await failureOf(scene.csrs.create(input, never));
      assert.equal(failure.code, 'API_CONFLICT');
      assert.match(failure.message, /CSR csr-1 already exists with different content/);
      assert.equal(failure.remedy, 'Delete the CSR: kubectl delete csr csr-1');
    });
  }
});

describe('CsrClient.waitForOutcome()', () => {
  it('returns a certificate after two requests', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    const watch = await scene.api.watch();
    watch.send(modified({ version: 11, conditions: [approved] }), modified(issuedParts));
    assert.equal(issued(await outcome), certificatePem);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10']);
    assert.equal(scene.approvals.length, 1);
    assert.deepEqual(scene.troubles, []);
    assert.equal(scene.clock.sleeping, 0);
    while (scene.api.server.open > 0) await scene.clock.advance(0);
    await scene.client.close();
    assert.equal(scene.api.server.connections, 1);
  });

  it('checks the state in the response to the POST first', async () => {
    await using scene = await Scene.start();
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject(issuedParts));
    };
    const { outcome } = await scene.wait();
    assert.equal(issued(await outcome), certificatePem);
    assert.deepEqual(scene.api.log, ['POST']);
    assert.equal(scene.approvals.length, 1);
  });

  it('reports why nodecertd approver holds the CSR, once for each reason', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    const watch = await scene.api.watch();
    const held = (version: number, reason: string): unknown =>
      modified({ version, note: { outcome: 'hold', reason, message: 'm', remedy: 'r' } });
    watch.send(held(11, 'NodeNotFound'), held(12, 'NodeNotFound'), held(13, 'AddressesEmpty'));
    watch.send(modified({ ...issuedParts, note: { outcome: 'hold' } }));
    assert.equal(issued(await outcome), certificatePem);
    assert.deepEqual(scene.holds, ['NodeNotFound: r', 'AddressesEmpty: r']);
  });

  const denied = { type: 'Denied', status: 'True', reason: 'No', message: 'not you' };
  const deniedBy = (reason: string): unknown =>
    modified({
      conditions: [denied],
      note: { outcome: 'deny', reason, message: 'm', remedy: 'Ask' },
    });
  const failed = { type: 'Failed', status: 'True', reason: 'SignerValidationFailure' };
  const outcomes: readonly [string, unknown, CsrOutcome][] = [
    [
      'Denied',
      modified({ conditions: [denied] }),
      { kind: 'denied', reason: 'No', message: 'not you' },
    ],
    [
      'Denied by nodecertd approver',
      deniedBy('No'),
      { kind: 'denied', reason: 'No', message: 'not you', remedy: 'Ask' },
    ],
    [
      'Denied for another reason than that of nodecertd approver',
      deniedBy('Other'),
      { kind: 'denied', reason: 'No', message: 'not you' },
    ],
    [
      'Denied beside a certificate',
      modified({ ...issuedParts, conditions: [approved, denied] }),
      { kind: 'denied', reason: 'No', message: 'not you' },
    ],
    [
      'Failed beside a certificate',
      modified({ ...issuedParts, conditions: [approved, failed] }),
      { kind: 'failed', reason: 'SignerValidationFailure', message: '' },
    ],
    [
      'a condition without a status, as in objects created before v1',
      modified({ conditions: [{ type: 'Denied' }] }),
      { kind: 'denied', reason: '', message: '' },
    ],
    ['deletion', { type: 'DELETED', object: csrObject({ version: 12 }) }, { kind: 'deleted' }],
    ['another UID', modified({ ...issuedParts, uid: 'uid-2' }), { kind: 'replaced' }],
  ];
  for (const [name, event, expected] of outcomes) {
    it(`ends with ${expected.kind} on ${name}`, async () => {
      await using scene = await Scene.start();
      const { outcome } = await scene.wait();
      (await scene.api.watch()).send(event);
      assert.deepEqual(await outcome, expected);
    });
  }

  const pending: readonly [string, CsrParts][] = [
    ['a certificate without approval', { version: 11, certificate: certificatePem }],
    ['an approval without a certificate', { version: 11, conditions: [approved] }],
    ['a denial that is not True', { version: 11, conditions: [{ ...denied, status: 'False' }] }],
  ];
  for (const [name, parts] of pending) {
    it(`continues to wait for ${name}`, async () => {
      await using scene = await Scene.start();
      const { outcome } = await scene.wait();
      (await scene.api.watch()).send(modified(parts), modified(issuedParts));
      assert.equal(issued(await outcome), certificatePem);
    });
  }

  it('reopens a watch at the last version, with growing delays', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    const first = await scene.nextWatch();
    first.send(modified({ version: 15 }), {
      type: 'BOOKMARK',
      object: { metadata: { resourceVersion: '17' } },
    });
    first.response.end();
    const starts: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const watch = await scene.nextWatch();
      starts.push(scene.clock.now());
      watch.response.end();
    }
    (await scene.nextWatch()).send(modified(issuedParts));
    assert.equal(issued(await scene.until(outcome)), certificatePem);
    assert.deepEqual(scene.api.log, [
      'POST',
      'WATCH@10',
      ...Array.from({ length: 6 }, () => 'WATCH@17'),
    ]);
    const gaps = starts.slice(1).map((start, index) => start - (starts[index] ?? 0));
    // Half of 500 ms, 1 s, 2 s and 4 s with random 0, plus network delays in steps of 50 ms.
    for (const [index, least] of [250, 500, 1_000, 2_000].entries()) {
      assert((gaps[index] ?? 0) >= least, `gap ${index} of ${gaps.join(', ')}`);
    }
    assert.deepEqual(scene.troubles, []);
  });

  it('reads the object after 410 without reporting a failure', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject({ version: 40 }));
    };
    (await scene.nextWatch()).send(gone());
    (await scene.nextWatch()).send(modified(issuedParts));
    assert.equal(issued(await scene.until(outcome)), certificatePem);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10', 'GET', 'WATCH@40']);
    assert.deepEqual(scene.troubles, []);
  });

  it('reads the outcome after an outage, and reports each failure', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    let reads = 0;
    scene.api.answer = (_, response) => {
      reads += 1;
      if (reads === 1) response.destroy();
      else if (reads === 2) sendJson(response, {}, 503);
      else if (reads === 3) sendStatus(response, 401);
      else sendJson(response, csrObject(issuedParts));
    };
    (await scene.nextWatch()).response.destroy();
    assert.equal(issued(await scene.until(outcome)), certificatePem);
    assert.deepEqual(
      scene.troubles.map(({ code }) => code),
      ['API_UNREACHABLE', 'API_UNREACHABLE', 'API_SERVER_ERROR', 'API_UNAUTHORIZED'],
    );
  });

  it('reports only the first response after failures', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    const first = await scene.nextWatch();
    first.send(modified({ version: 12 }));
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject({ version: 20 }));
    };
    first.response.destroy();
    const second = await scene.nextWatch();
    const before = scene.troubles.length;
    assert.deepEqual(scene.calms, [before]);
    second.send(modified({ version: 21 }));
    second.send(modified(issuedParts));
    await scene.until(outcome);
    assert.deepEqual(scene.calms, [before]);
  });

  it('waits at least for Retry-After', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    let refusedAt = 0;
    scene.api.answer = (_, response) => {
      if (refusedAt === 0) {
        refusedAt = scene.clock.now();
        response.writeHead(429, { 'retry-after': '60' }).end();
      } else sendJson(response, csrObject(issuedParts));
    };
    (await scene.nextWatch()).response.destroy();
    await scene.until(outcome);
    assert(scene.clock.now() - refusedAt >= minute);
    assert(scene.clock.now() - refusedAt < minute + 5 * second);
  });

  it('ends with deleted when a read returns 404', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    scene.api.answer = (_, response) => {
      sendStatus(response, 404, { reason: 'NotFound' });
    };
    (await scene.nextWatch()).send(gone());
    assert.deepEqual(await scene.until(outcome), { kind: 'deleted' });
  });

  it('polls beside a silent watch', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    await scene.nextWatch();
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject(issuedParts));
    };
    await scene.clock.advance(2.4 * minute);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10']);
    await scene.clock.advance(0.1 * minute);
    assert.equal(issued(await outcome), certificatePem);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10', 'GET']);
    assert.deepEqual(
      scene.troubles.map(({ code }) => code),
      ['API_TIMEOUT'],
    );
  });

  it('keeps one CSR beyond the 15 minutes after which client-go creates another', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    let settled = false;
    const decided = outcome.finally(() => {
      settled = true;
    });
    const start = scene.clock.now();
    while (scene.clock.now() - start < 16 * minute) await scene.clock.advance(second);
    assert.equal(settled, false);
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject(issuedParts));
    };
    assert.equal(issued(await scene.until(decided)), certificatePem);
    assert.deepEqual(
      scene.api.log.filter((entry) => entry === 'POST'),
      ['POST'],
    );
    // The fake watch sent nothing in all that time.
    assert.deepEqual(
      scene.troubles.map(({ code }) => code),
      ['API_TIMEOUT'],
    );
  });

  it('does not poll beside an active watch, and keeps a complete one', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    const watch = await scene.nextWatch();
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject({ version: 10 }));
    };
    watch.send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '11' } } });
    await scene.clock.advance(2.5 * minute);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10']);
    await scene.clock.advance(2.5 * minute);
    while (scene.api.log.length < 3) await scene.clock.advance(0);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10', 'GET']);
    watch.send(modified(issuedParts));
    assert.equal(issued(await scene.until(outcome)), certificatePem);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10', 'GET']);
  });

  it('replaces a watch that missed a change', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    await scene.nextWatch();
    scene.api.answer = (_, response) => {
      sendJson(response, csrObject({ version: 12 }));
    };
    await scene.clock.advance(2.5 * minute);
    const watch = await scene.nextWatch();
    assert.deepEqual(
      scene.troubles.map(({ code }) => code),
      ['API_TIMEOUT'],
    );
    watch.send(modified(issuedParts));
    assert.equal(issued(await scene.until(outcome)), certificatePem);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10', 'GET', 'WATCH@12']);
    assert.deepEqual(scene.calms, [1]);
  });

  it('continues with a new identity when its client is closed', async () => {
    await using scene = await Scene.start();
    const { outcome } = await scene.wait();
    await scene.nextWatch();
    const old = scene.client;
    scene.client = await clientOf(scene.api.server);
    await old.close();
    (await scene.nextWatch()).send(modified(issuedParts));
    assert.equal(issued(await scene.until(outcome)), certificatePem);
    assert.deepEqual(scene.api.log, ['POST', 'WATCH@10', 'WATCH@10']);
    assert.deepEqual(scene.troubles, []);
  });

  it('throws ABORTED on its signal, during a watch or a delay, and cleans up', async () => {
    for (const phase of ['watch', 'backoff'] as const) {
      await using scene = await Scene.start();
      scene.random = 0.5;
      const controller = new AbortController();
      const { outcome } = await scene.wait(controller.signal);
      const failing = failureOf(outcome);
      const watch = await scene.nextWatch();
      if (phase === 'backoff') {
        watch.response.end();
        while (scene.clock.sleeping < 2) await scene.clock.advance(0);
      }
      controller.abort();
      assert.equal((await failing).code, 'ABORTED');
      assert.equal(scene.clock.sleeping, 0);
    }
  });
});
