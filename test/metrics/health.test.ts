import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour, minute } from '../../src/core/instant.ts';
import type { AgentStatus } from '../../src/core/status.ts';
import { liveness, readiness } from '../../src/metrics/health.ts';
import { agent, client, facts, now, server } from './fixtures.ts';

describe('liveness()', () => {
  // The clock may have been set or the machine suspended, so the age of the last round is no evidence.
  for (const age of [0, 3 * minute, day, -hour]) {
    it(`is healthy while nothing hangs, with a last round ${age / minute} minutes ago`, () => {
      const verdict = liveness({ lastTick: now - age, stuckAt: undefined });
      assert.deepEqual(verdict, { healthy: true, text: 'ok\n' });
    });
  }

  it('names the hung step and the time of the last round', () => {
    assert.deepEqual(liveness({ lastTick: now - 4 * minute, stuckAt: 'setting watches' }), {
      healthy: false,
      text: 'the rotation loop hangs in setting watches; it last ran at 2026-01-10T11:56:00Z\n',
    });
  });
});

describe('readiness()', () => {
  it('names the host name that the agent cannot use', () => {
    const { healthy, text } = readiness({ ...agent([client()]), placeholderHostName: 'localhost' });
    assert.equal(healthy, false);
    assert.match(text, /^the host name "localhost" cannot name a Node.*\n$/);
  });

  const approve = 'approve with: kubectl certificate approve node-csr-abc';
  const failed = {
    code: 'CSR_DENIED',
    message: 'CSR node-csr-abc was denied:\nnot today',
    remedy: 'Ask the administrator',
    at: now - hour,
  } as const;
  const { csr: _, ...without } = server({ state: 'backing-off' });
  const rows: readonly (readonly [string, AgentStatus, boolean, string])[] = [
    [
      'usable certificates',
      agent([client()]),
      true,
      'kubelet-client: ready, valid since 2025-12-31T12:00:00Z (10d)\n',
    ],
    ['no certificates yet', agent([]), false, 'the certificate directory has not been read yet\n'],
    [
      'a pending CSR',
      agent([client(), server()]),
      false,
      'kubelet-client: ready, valid since 2025-12-31T12:00:00Z (10d)\n' +
        `kubelet-server: NOT READY, pending-approval since 2026-01-10T10:00:00Z (2h); there is no certificate; ${approve}\n`,
    ],
    [
      'a denied CSR, in one line',
      agent([{ ...without, lastFailure: failed, nextAttempt: now + hour }]),
      false,
      'kubelet-server: NOT READY, backing-off since 2026-01-10T10:00:00Z (2h); there is no certificate; ' +
        'last failure CSR_DENIED: CSR node-csr-abc was denied: not today; remedy: Ask the administrator; next attempt in 1h\n',
    ],
    [
      'an expired certificate',
      agent([client({ usable: false, current: facts({ notAfter: now - day }) })]),
      false,
      'kubelet-client: NOT READY, valid since 2025-12-31T12:00:00Z (10d); expired 1d ago\n',
    ],
    [
      'a certificate that expires right now',
      agent([client({ usable: false, current: facts({ notAfter: now }) })]),
      false,
      'kubelet-client: NOT READY, valid since 2025-12-31T12:00:00Z (10d); expired 0s ago\n',
    ],
    [
      'a certificate that is not valid yet',
      agent([client({ usable: false, current: facts({ notBefore: now + minute }) })]),
      false,
      'kubelet-client: NOT READY, valid since 2025-12-31T12:00:00Z (10d); not valid before 2026-01-10T12:01:00Z\n',
    ],
    [
      'a temporary self-signed certificate',
      agent([server({ current: facts({ selfSigned: true }) })]),
      false,
      `kubelet-server: NOT READY, pending-approval since 2026-01-10T10:00:00Z (2h); only a temporary self-signed certificate; ${approve}\n`,
    ],
    [
      'a usable certificate whose renewal fails',
      agent([client({ state: 'backing-off', since: now - minute, lastFailure: failed })]),
      true,
      'kubelet-client: ready, backing-off since 2026-01-10T11:59:00Z (1m)\n',
    ],
  ];
  for (const [title, status, healthy, text] of rows) {
    it(`is ${healthy ? 'healthy' : 'unhealthy'} with ${title}`, () => {
      assert.deepEqual(readiness(status), { healthy, text });
    });
  }
});
