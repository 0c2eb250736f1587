import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemClock } from '../../../src/sys/clock.ts';
import { mintProbe } from '../../../src/trust/cluster/probe-certificate.ts';
import { probeByRequest } from '../../../src/trust/control-plane/request-probe.ts';
import { createPrivateKey } from 'node:crypto';
import { next, old } from './check-context.ts';
import { startComponent } from './component-server.ts';

const { signal } = new AbortController();

async function probe(port: number, by: typeof old): ReturnType<typeof probeByRequest> {
  const key = createPrivateKey(by.key);
  const certificate = await mintProbe({ authority: by.authority, key }, systemClock.now());
  return probeByRequest({ host: '127.0.0.1', port, path: '/pods' }, certificate, signal);
}

describe('probeByRequest()', () => {
  it('distinguishes a client that may do nothing from one that is not authenticated', async () => {
    await using server = await startComponent({ served: old, trusted: [next] });
    assert.deepEqual(await probe(server.port, next), { kind: 'accepted' });
    assert.deepEqual(await probe(server.port, old), { kind: 'rejected' });
  });

  it('says why a server does not answer', async () => {
    const server = await startComponent({ served: old, trusted: [] });
    await server[Symbol.asyncDispose]();
    const result = await probe(server.port, next);
    assert.equal(result.kind, 'failed');
    assert.match(result.reason, /ECONNREFUSED/);
  });
});
