import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { IssuedBy } from '../../../../src/trust/cluster/issued-by.ts';
import type { ServerProbe } from '../../../../src/trust/cluster/probes.ts';
import { certificatesByNext } from '../../../../src/trust/control-plane/steps/rollover-undo.ts';
import { clusterState, next, old } from '../../../support/rollover-state.ts';

const local = {
  isControlPlane: true,
  leaves: [{ place: 'apiserver.crt', issuer: 'old' }],
  signingFiles: [],
  trustFiles: [],
  kubeconfigs: [],
  keys: [],
} as const;

function probe(name: string, issuedBy: IssuedBy): ServerProbe {
  return {
    server: { name, host: '10.0.0.2', port: 6443 },
    served: { issuedBy, hasBridge: true },
    byOld: { kind: 'accepted' },
    byNext: { kind: 'accepted' },
  };
}

describe('certificatesByNext()', () => {
  const view = { state: clusterState(), authorities: { old, next }, local };

  it('finds nothing while the old CA has issued every certificate', () => {
    const probes = [probe('cp1', 'old'), probe('cp2', 'old')];
    assert.deepEqual(certificatesByNext({ ...view, probes }), []);
  });

  it('names an API server that serves a certificate from the new CA', () => {
    const probes = [probe('cp1', 'old'), probe('cp2', 'next')];
    const found = certificatesByNext({ ...view, probes });
    assert.deepEqual(
      found.map(({ objects }) => objects),
      [['cp2']],
    );
  });
});
