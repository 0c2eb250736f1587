import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Handler } from '../kube/support/api-server.ts';
import { sendJson, sendStatus } from '../kube/support/api-server.ts';
import { failureOf } from '../kube/support/requests.ts';
import { discover, TestCluster } from './support/test-cluster.ts';

interface Case {
  readonly what: string;
  readonly respond: Handler;
  readonly code: string;
  readonly message: RegExp;
  readonly remedy: RegExp;
}

const isNoApiServer =
  /^Set the endpoint to the address of an API server; if only a proxy can connect/;

const page =
  (text: string, status = 200): Handler =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'text/html' });
    response.end(text);
  };

/** Responses that end the discovery at the first attempt. */
const final: readonly Case[] = [
  {
    what: 'a web page',
    respond: page('<html><head><TITLE>\u001b[31mLog in\n</TITLE>'),
    code: 'API_BAD_RESPONSE',
    message: /: not a Kubernetes API server: HTTP status 200, title "\[31mLog in"$/,
    remedy: isNoApiServer,
  },
  {
    what: 'a web page without a title',
    respond: page('<h1>It works</h1>'),
    code: 'API_BAD_RESPONSE',
    message: /HTTP status 200, no ConfigMap but text\/html$/,
    remedy: isNoApiServer,
  },
  {
    what: 'a redirect',
    respond: (_, response) => {
      response.writeHead(302, { location: 'https://login.example.com/\u00a0' });
      response.end();
    },
    code: 'API_BAD_RESPONSE',
    message: /HTTP status 302, Location https:\/\/login\.example\.com\/, an empty body$/,
    remedy: isNoApiServer,
  },
  {
    what: 'a 404 of a web server',
    respond: page('not found', 404),
    code: 'API_BAD_RESPONSE',
    message: /HTTP status 404, no ConfigMap but text\/html$/,
    remedy: isNoApiServer,
  },
  {
    what: 'a 404 of an API server',
    respond: (_, response) =>
      sendStatus(response, 404, {
        reason: 'NotFound',
        details: { name: 'cluster-info', kind: 'configmaps' },
      }),
    code: 'API_NOT_FOUND',
    message: /the cluster has no ConfigMap cluster-info in the namespace kube-public$/,
    remedy: /kubeadm init phase bootstrap-token/,
  },
  {
    what: 'another JSON object',
    respond: (_, response) => sendJson(response, { kind: 'Secret', apiVersion: 'v1' }),
    code: 'API_BAD_RESPONSE',
    message: /HTTP status 200, no ConfigMap but application\/json$/,
    remedy: isNoApiServer,
  },
  {
    what: 'an empty response',
    respond: (_, response) => response.end(),
    code: 'API_BAD_RESPONSE',
    message: /HTTP status 200, an empty body$/,
    remedy: isNoApiServer,
  },
  {
    what: 'bytes that are not HTTP',
    respond: ({ socket }) => socket.end('\0\u0001\u0002 garbage\r\n\r\n'),
    code: 'API_BAD_RESPONSE',
    message: /: not a Kubernetes API server: .*the response is not valid HTTP/,
    remedy: isNoApiServer,
  },
];

describe('clusterInfoIn()', () => {
  for (const { what, respond, code, message, remedy } of final) {
    it(`recognizes ${what}`, async () => {
      await using cluster = await TestCluster.start();
      cluster.respond = respond;
      const failure = await failureOf(discover(cluster));
      assert.equal(failure.code, code);
      assert.match(failure.message, message);
      assert.match(failure.remedy ?? '', remedy);
      assert.doesNotMatch(failure.message, /\p{C}/u);
      assert.equal(cluster.reads, 1);
      assert.deepEqual(cluster.credentials, []);
    });
  }

  it('recognizes a ConfigMap without a kubeconfig', async () => {
    await using cluster = await TestCluster.start();
    cluster.respond = (_, response) => cluster.sendClusterInfo(response, {});
    const failure = await failureOf(discover(cluster));
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.match(failure.message, /cluster-info has no kubeconfig$/);
  });

  it('stops reading after 1 MiB', async () => {
    await using cluster = await TestCluster.start();
    let sent = 0;
    cluster.respond = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const chunk = Buffer.alloc(64 * 1024, 0x20);
      const more = (): void => {
        while (sent < 200 * 1024 * 1024 && !response.destroyed) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once('drain', more);
        }
        response.end();
      };
      more();
    };
    const failure = await failureOf(discover(cluster));
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.match(failure.message, /is longer than 1048576 bytes$/);
    assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes`);
  });
});
