import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { healthOf } from '../../../src/pki/renewal/component-start.ts';

const { signal } = new AbortController();

describe('healthOf()', () => {
  for (const [status, expected] of [
    [200, 'ok'],
    [503, '/health answers 503'],
  ] as const) {
    it(`of etcd is ${expected} if the port without TLS answers ${status}`, async (test) => {
      const server = createServer((request, response) => {
        response.writeHead(request.url === '/health' ? status : 404).end();
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      test.after(() => server.close());
      const { port } = server.address() as AddressInfo;
      const answer = await healthOf({ host: '127.0.0.1', port, plainPath: '/health' }, signal);
      assert.equal(answer, expected);
    });
  }
});
