import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute, second } from '../../src/core/instant.ts';
import type { Handler } from '../kube/support/api-server.ts';
import { sendStatus } from '../kube/support/api-server.ts';
import { failureOf } from '../kube/support/requests.ts';
import { idleAfter, requestFor, TestCluster, tokenText, Trial } from './support/test-cluster.ts';

const otherToken = 'ghijkl.0123456789abcdef';

/** Only another token is signed, for longer than the signer needs. */
async function withOtherToken(cluster: TestCluster): Promise<Trial> {
  cluster.signing = [otherToken, 'mnopqr.0123456789abcdef'];
  const trial = new Trial(requestFor(cluster));
  await idleAfter(cluster, 1);
  await trial.clock.advance(5 * second);
  await idleAfter(cluster, 2);
  await trial.clock.advance(5 * second);
  return trial;
}

describe('discoverThrough() after a temporary failure', () => {
  const cases: readonly {
    readonly what: string;
    readonly respond: Handler;
    readonly line: RegExp;
    readonly delay: number;
  }[] = [
    {
      what: 'a 500',
      respond: (_, response) => sendStatus(response, 500, { reason: 'InternalError' }),
      line: /^127\.0\.0\.1:\d+: get cluster-info: HTTP status 500, InternalError; next attempt in 5s$/,
      delay: 5 * second,
    },
    {
      what: 'a 503 of a load balancer',
      respond: (_, response) => {
        response.writeHead(503);
        response.end('<title>no backend</title>');
      },
      line: /: get cluster-info: HTTP status 503; next attempt in 5s$/,
      delay: 5 * second,
    },
    {
      what: 'a 429 with Retry-After',
      respond: (_, response) => {
        response.setHeader('retry-after', '17');
        sendStatus(response, 429, { reason: 'TooManyRequests' });
      },
      line: /: get cluster-info: HTTP status 429, TooManyRequests; next attempt in 17s$/,
      delay: 17 * second,
    },
    {
      what: 'a reset',
      respond: ({ socket }) => socket.destroy(),
      line: /: the server closed the connection; next attempt in 5s$/,
      delay: 5 * second,
    },
  ];
  for (const { what, respond, line, delay } of cases) {
    it(`tries again after ${what}`, async () => {
      await using cluster = await TestCluster.start();
      cluster.respond = respond;
      const trial = new Trial(requestFor(cluster));
      await trial.line();
      assert.match(trial.lines[0] ?? '', line);
      cluster.respond = undefined;
      await trial.clock.advance(delay - 1);
      assert.equal(cluster.reads, 1);
      await trial.clock.advance(1);
      assert.equal((await trial.result).verifiedBy, 'pin');
    });
  }

  it('abandons a response that does not end within 10 s', async () => {
    await using cluster = await TestCluster.start();
    cluster.respond = (_, response) => void response.write('{');
    const trial = new Trial(requestFor(cluster));
    while (cluster.reads === 0) await trial.clock.advance(0);
    await trial.clock.advance(10 * second);
    await trial.line();
    assert.match(trial.lines[0] ?? '', /: no complete response within 10s; next attempt in 5s$/);
    trial.cancel();
    assert.equal((await failureOf(trial.result)).code, 'ABORTED');
  });

  it('doubles the delay to 30 s, and gives up at the timeout', async () => {
    await using cluster = await TestCluster.start();
    cluster.respond = (_, response) => sendStatus(response, 500);
    const trial = new Trial(requestFor(cluster, { timeoutMs: minute }));
    for (const delay of [5, 10, 20]) {
      await trial.line();
      await trial.clock.advance(delay * second);
    }
    await trial.line();
    assert.deepEqual(
      trial.lines.map((line) => line.split('; ')[1]),
      ['5s', '10s', '20s', '30s'].map((delay) => `next attempt in ${delay}`),
    );
    await trial.clock.advance(25 * second);
    const failure = await failureOf(trial.result);
    assert.equal(failure.code, 'API_SERVER_ERROR');
    assert.match(failure.message, /: get cluster-info: HTTP status 500; gave up after 1m$/);
    assert.equal(cluster.reads, 4);
    assert.equal(trial.clock.sleeping, 0);
  });
});

describe('discoverThrough() after a refusal of anonymous users', () => {
  const cases = [
    {
      status: 401,
      code: 'API_UNAUTHORIZED',
      message: /: the API server rejects anonymous requests \(HTTP status 401\)/,
      remedy: /nodecertd discover --discovery-file FILE$/,
    },
    {
      status: 403,
      code: 'API_FORBIDDEN',
      message: /: anonymous users may not read cluster-info \(HTTP status 403\)/,
      remedy:
        /kubectl --namespace kube-public create role .* create rolebinding .*--user=system:anonymous$/,
    },
  ];
  const reason =
    'configmaps "cluster-info" is forbidden: User "system:anonymous" cannot get resource "configmaps"';
  for (const { status, code, message, remedy } of cases) {
    it(`tries once more after ${status}`, async () => {
      await using cluster = await TestCluster.start();
      cluster.respond = (_, response) => sendStatus(response, status, { message: reason });
      const trial = new Trial(requestFor(cluster));
      await trial.line();
      await trial.clock.advance(5 * second);
      const failure = await failureOf(trial.result);
      assert.equal(failure.code, code);
      assert.match(failure.message, message);
      assert.match(failure.remedy ?? '', remedy);
      assert.equal(cluster.reads, 2);
    });
  }
});

describe('discoverThrough() without a signature for the token', () => {
  it('waits for the first signature, says so once, and succeeds', async () => {
    await using cluster = await TestCluster.start();
    cluster.signing = [];
    const trial = new Trial(requestFor(cluster));
    await idleAfter(cluster, 1);
    await trial.clock.advance(5 * second);
    await idleAfter(cluster, 2);
    cluster.signing = [tokenText];
    await trial.clock.advance(10 * second);
    assert.equal((await trial.result).verifiedBy, 'pin');
    assert.deepEqual(trial.lines, [
      `127.0.0.1:${cluster.endpoint.port}: cluster-info is not signed yet; waiting for a signature`,
    ]);
  });

  it('gives up at the timeout if nothing is signed', async () => {
    await using cluster = await TestCluster.start();
    cluster.signing = [];
    const trial = new Trial(requestFor(cluster, { timeoutMs: 12 * second }));
    await idleAfter(cluster, 1);
    await trial.clock.advance(5 * second);
    await idleAfter(cluster, 2);
    await trial.clock.advance(7 * second);
    const failure = await failureOf(trial.result);
    assert.equal(failure.code, 'TOKEN_REJECTED');
    assert.match(
      failure.message,
      /: cluster-info is not signed for any token: .*; gave up after 12s$/,
    );
  });

  it('fails after 10 s if only other tokens are signed', async () => {
    await using cluster = await TestCluster.start();
    cluster.authenticating = [];
    const trial = await withOtherToken(cluster);
    const failure = await failureOf(trial.result);
    assert.equal(failure.code, 'TOKEN_REJECTED');
    assert.match(
      failure.message,
      /: cluster-info is not signed for token abcdef, only for 2 other tokens: the token belongs to another cluster, has expired, or lacks usage-bootstrap-signing$/,
    );
    assert.match(failure.remedy ?? '', /kubeadm token create/);
    assert.deepEqual(trial.lines, [
      `127.0.0.1:${cluster.endpoint.port}: cluster-info is not signed for token abcdef yet; waiting 10s`,
    ]);
  });

  it('recognizes a token that authenticates over a pinned connection', async () => {
    await using cluster = await TestCluster.start();
    const trial = await withOtherToken(cluster);
    const failure = await failureOf(trial.result);
    assert.equal(failure.code, 'TOKEN_REJECTED');
    assert.match(failure.message, /: token abcdef lacks usage-bootstrap-signing/);
    assert.deepEqual(cluster.credentials, [`Bearer ${tokenText}`]);
  });

  it('sends an unsigned token to no server without a pinned CA', async () => {
    await using cluster = await TestCluster.start();
    await using pinned = await TestCluster.start();
    cluster.bundle = [pinned.authority.pem, cluster.authority.pem];
    cluster.signing = [otherToken];
    const trial = new Trial({ ...requestFor(pinned), endpoints: [cluster.endpoint] });
    await idleAfter(cluster, 1);
    await trial.clock.advance(5 * second);
    await idleAfter(cluster, 2);
    await trial.clock.advance(5 * second);
    assert.match((await failureOf(trial.result)).message, /only for 1 other token:/);
    assert.deepEqual(cluster.credentials, []);
  });

  it('succeeds if the token is signed within 10 s', async () => {
    await using cluster = await TestCluster.start();
    cluster.signing = [otherToken];
    const trial = new Trial(requestFor(cluster));
    await idleAfter(cluster, 1);
    cluster.signing = [otherToken, tokenText];
    await trial.clock.advance(5 * second);
    assert.equal((await trial.result).verifiedBy, 'pin');
  });
});
