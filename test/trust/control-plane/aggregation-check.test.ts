import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { second } from '../../../src/core/instant.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { requireAggregation } from '../../../src/trust/control-plane/aggregation-check.ts';
import { accessTo, ApiServer } from '../../kube/support/api-server.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { contextWith } from './check-context.ts';

const { signal } = new AbortController();
const authority = await makeAuthority('kubernetes');
const pair = await authority.issue({
  commonName: 'kube-apiserver',
  usages: ['server auth'],
  dnsNames: ['kubernetes.default.svc'],
});
const api = { name: 'v1.example.com', path: '/apis/example.com/v1' };

/** The pauses of the check take no time, and count as a second. The time limit of a request is longer. */
function skipping(): Clock {
  let slept = 0;
  return {
    ...systemClock,
    elapsed: () => slept,
    sleep: async (ms, stop) => {
      if (ms >= second) return systemClock.sleep(ms, stop);
      slept += second;
    },
  };
}

/** @returns the paths of the requests */
async function check(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string[]> {
  await using server = await ApiServer.start(answer, { authority, pair });
  using access = await accessTo(server);
  const context = await contextWith({ apiServer: server.port }, { clock: skipping() });
  await requireAggregation({ ...context, aggregation: { access, apis: [api] } }, signal);
  return server.requests.map(({ url }) => url ?? '');
}

describe('requireAggregation()', () => {
  it('returns after three seconds in which every answer was 200', async () => {
    const statuses = [200, 200, 503];
    const paths = await check((_, response) => response.writeHead(statuses.shift() ?? 200).end());
    // 200 for one second, 503, and then 200 for three seconds.
    assert.deepEqual(
      paths,
      Array.from({ length: 7 }, () => api.path),
    );
  });

  it('fails if an extension API server does not answer through kube-apiserver', async () => {
    await assert.rejects(
      check((_, response) => response.writeHead(401).end()),
      {
        code: 'CERT_UNTRUSTED',
        message: /^v1\.example\.com does not answer through kube-apiserver at .*: status 401, 2m/,
      },
    );
  });
});
