import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ProbeResult, ServerProbe } from '../../../src/trust/cluster/probes.ts';
import { serverTrustOf } from '../../../src/trust/cluster/server-trust.ts';

const accepted: ProbeResult = { kind: 'accepted' };
const probe: ServerProbe = {
  server: { name: 'cp1', host: '10.0.0.1', port: 6443 },
  served: { issuedBy: 'old', hasBridge: false },
  byOld: accepted,
  byNext: accepted,
};

describe('serverTrustOf()', () => {
  it('has what any of the servers presents and rejects', () => {
    const others: readonly ServerProbe[] = [
      { ...probe, served: { issuedBy: 'next', hasBridge: true }, byNext: { kind: 'rejected' } },
      { ...probe, served: { issuedBy: 'unreadable', reason: 'no TLS handshake within 5 s' } },
    ];
    assert.deepEqual(serverTrustOf([probe, ...others]), {
      serves: new Set(['old', 'next']),
      rejectsOldTrust: false,
      rejects: new Set(['next']),
    });
  });

  it('knows that a client with the old CA alone rejects a certificate without a bridge', () => {
    const without: ServerProbe = { ...probe, served: { issuedBy: 'next', hasBridge: false } };
    assert.equal(serverTrustOf([probe, without]).rejectsOldTrust, true);
  });
});
