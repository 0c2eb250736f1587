import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { minute } from '../../../src/core/instant.ts';
import type { GateInput, RolloverSide } from '../../../src/trust/cluster/gate.ts';
import { gatesBefore } from '../../../src/trust/cluster/gate.ts';
import type { ServerProbe } from '../../../src/trust/cluster/probes.ts';
import { judgeAll } from '../../../src/trust/cluster/rollover-gates.ts';
import { serverTrustOf } from '../../../src/trust/cluster/server-trust.ts';
import type { ClusterNode, ClusterState } from '../../../src/trust/cluster/state.ts';
import { createClusterCa } from '../../support/cluster-pki.ts';
import {
  authority,
  clusterState,
  gateInput,
  lines,
  next,
  node,
  now,
  onlyNext,
  onlyOld,
  read,
} from '../../support/rollover-state.ts';

const findings = { probes: [], kubeletAuthorities: [], clientAuthorities: [], kubelets: [] };

/** After a step *finish* that was interrupted, the old CA is left in a ConfigMap alone. */
const interrupted = gateInput({
  rootCas: read(new Map([['default', onlyNext]])),
  trustBundles: read(new Map([['bundle', onlyNext]])),
});

function leftoversIn(removesLeftovers: boolean, ...has: readonly RolloverSide[]): string[] {
  const file = { flag: 'kube-apiserver --client-ca-file', path: '/ca-clients.crt', has };
  const found = { ...findings, clientAuthorities: [file] };
  const gates = judgeAll({ ...interrupted, confirmed: { removesLeftovers } }, found);
  const messages = gates.flatMap(({ reasons }) => reasons.map(({ message }) => message));
  return messages.filter((message) => message.includes('extension-apiserver-authentication'));
}

describe('judgeAll()', () => {
  it('closes G8 while an object has the old CA that the judged step does not remove', () => {
    assert.deepEqual(leftoversIn(false), [
      'kube-system/extension-apiserver-authentication still has the old CA',
    ]);
    assert.deepEqual(leftoversIn(true), []);
  });

  it('opens G8 while kube-apiserver of this node keeps the old CA for absent nodes', () => {
    assert.deepEqual(leftoversIn(false, 'next', 'old'), []);
    assert.equal(leftoversIn(false, 'next').length, 1);
  });
});

function probe(name: string, byNext: 'accepted' | 'rejected'): ServerProbe {
  return {
    server: { name, host: name, port: 6443 },
    served: { issuedBy: 'old', hasBridge: false },
    byOld: { kind: 'accepted' },
    byNext: { kind: byNext },
  };
}

/** As the probes of a rollover from the new CA to the old one. */
function swapped({ byOld, byNext, ...rest }: ServerProbe): ServerProbe {
  return { ...rest, served: { issuedBy: 'next', hasBridge: false }, byOld: byNext, byNext: byOld };
}

function der(pem: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new X509Certificate(pem).raw);
}

/** After `trust` on each node, and without a `switch`. */
describe('judgeAll() with the CAs swapped', () => {
  let state: ClusterState;
  let authorities: GateInput['authorities'];
  before(async () => {
    const ca = await createClusterCa();
    const { certificatePem } = await ca.issue({
      commonName: 'system:node:node-1',
      organizations: ['system:nodes'],
      usage: 'client auth',
    });
    const other = await createClusterCa();
    authorities = {
      old: { ...next, der: der(other.certificatePem) },
      next: { ...authority('a'), der: der(ca.certificatePem) },
    };
    const newest = { csr: 'csr-1', approvedAt: now - minute, leaf: der(certificatePem) };
    const signerName = 'kubernetes.io/kube-apiserver-client-kubelet';
    state = clusterState({ signers: read([{ signerName, newest, unissued: [] }]) });
  });

  function reasons(
    changes: Partial<ClusterState>,
    probes: readonly ServerProbe[],
    confirmed: GateInput['confirmed'] = { clients: true },
  ): string[] {
    const found = probes.map(swapped);
    const input: GateInput = {
      state: { ...state, ...changes },
      authorities,
      servers: serverTrustOf(found),
      // On a node after `trust`, and on one that `abort` has returned.
      signingFiles: ['ca-signing.crt', 'ca.crt'].map((place) => ({ place, issuer: 'next' })),
      leaves: [{ place: 'admin.conf', issuer: 'next' }],
      confirmed: { ...confirmed, removesLeftovers: true },
    };
    const needed: readonly string[] = gatesBefore.abort;
    const gates = judgeAll(input, { ...findings, probes: found });
    return gates
      .filter(({ id }) => needed.includes(id))
      .flatMap((gate) => lines(gate.reasons).map((line) => `${gate.id} ${line}`));
  }

  const trusted = [probe('cp1', 'accepted'), probe('cp2', 'accepted')];

  it('has open gates at once if the new CA has issued nothing', () => {
    assert.deepEqual(reasons({}, trusted), []);
  });

  it('has open gates after the return of the node that publishes the CAs', () => {
    const published = new Map([['default', onlyOld]]);
    const changes = { rootCas: read(published), trustBundles: read(published) };
    assert.deepEqual(reasons(changes, [probe('cp1', 'rejected'), probe('cp2', 'accepted')]), []);
  });

  it('asks about clients outside the cluster', () => {
    assert.deepEqual(reasons({}, trusted, {}), [
      'G8 unknown cannot see whether a client still uses a certificate from the old CA',
    ]);
  });

  it('waits for a node without an agent, unless it is excepted', () => {
    const { report: _, ...silent } = node('node-2');
    const changes = { nodes: read<ClusterNode[]>([node('node-1'), silent]) };
    assert.deepEqual(reasons(changes, trusted), [
      'G7 waiting 1 node of 2: the Node has no annotation nodecertd.io/trust [node-2]',
      'G8 waiting G7 (reissued) is not open',
    ]);
    const exceptNodes = new Set(['node-2']);
    assert.deepEqual(reasons(changes, trusted, { clients: true, exceptNodes }), []);
  });
});
