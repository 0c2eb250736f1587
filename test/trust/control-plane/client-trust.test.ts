import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { second } from '../../../src/core/instant.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { requireClientTrust } from '../../../src/trust/control-plane/client-trust.ts';
import { hastened } from '../../support/hastened-clock.ts';
import { contextWith, next, old } from './check-context.ts';
import type { ComponentServer } from './component-server.ts';
import { startComponent } from './component-server.ts';

const { signal } = new AbortController();

/** Two minutes pass in a second. Requests have their whole time. */
const fast: Clock = { ...systemClock, elapsed: () => hastened(120).elapsed() };

describe('requireClientTrust()', () => {
  const cases = [
    ['both CAs', [old, next], ['old', 'next']],
    ['the new CA alone', [next], ['next']],
  ] as const;
  for (const [name, trusted, wanted] of cases) {
    it(`returns if kube-apiserver authenticates clients by ${name}`, async () => {
      await using server = await startComponent({ served: next, trusted });
      await requireClientTrust(
        await contextWith({ apiServer: server.port }, { clock: systemClock }),
        wanted,
        signal,
      );
    });
  }

  it('waits until both components have loaded the file', async () => {
    await using apiServer = await startComponent({ served: old, trusted: [old] });
    await using kubelet = await startComponent({ served: old, trusted: [old] });
    const context = await contextWith(
      { apiServer: apiServer.port, kubelet: kubelet.port },
      { clock: afterSleeps(apiServer, kubelet) },
    );
    await requireClientTrust(context, ['old', 'next'], signal);
  });

  const faults = [
    [
      'rejects',
      [old],
      ['old', 'next'],
      /^kube-apiserver at 127.0.0.1:\d+ rejects a client certificate from the new CA, 2m after/,
    ],
    [
      'still accepts',
      [old, next],
      ['next'],
      /^kube-apiserver at .* still accepts a client certificate from the old CA/,
    ],
  ] as const;
  for (const [what, trusted, wanted, message] of faults) {
    it(`fails if kube-apiserver ${what} a client`, async () => {
      await using server = await startComponent({ served: old, trusted });
      const context = await contextWith({ apiServer: server.port }, { clock: fast });
      await assert.rejects(requireClientTrust(context, wanted, signal), {
        code: 'CERT_UNTRUSTED',
        message,
      });
    });
  }

  it('fails if the kubelet rejects a client', async () => {
    await using apiServer = await startComponent({ served: old, trusted: [old, next] });
    await using kubelet = await startComponent({ served: old, trusted: [old] });
    const context = await contextWith(
      { apiServer: apiServer.port, kubelet: kubelet.port },
      { clock: fast },
    );
    await assert.rejects(requireClientTrust(context, ['old', 'next'], signal), {
      message: /^the kubelet at .* rejects a client certificate from the new CA/,
    });
  });
});

/** The components load the new file one after the other while the check sleeps. */
function afterSleeps(...servers: readonly ComponentServer[]): Clock {
  const waiting = [...servers];
  return {
    ...systemClock,
    sleep: async (ms, stop) => {
      // The time limit of a request is longer.
      if (ms < second) waiting.shift()?.trust([old, next]);
      await systemClock.sleep(ms, stop);
    },
  };
}
