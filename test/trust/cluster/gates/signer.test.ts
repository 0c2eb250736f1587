import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { minute } from '../../../../src/core/instant.ts';
import type { GateInput, RolloverAuthorities } from '../../../../src/trust/cluster/gate.ts';
import { judgeSigner } from '../../../../src/trust/cluster/gates/signer.ts';
import type { SignerActivity } from '../../../../src/trust/cluster/state.ts';
import type { ClusterCa } from '../../../support/cluster-pki.ts';
import { createClusterCa } from '../../../support/cluster-pki.ts';
import {
  authority,
  forbidden,
  gateInput,
  lines,
  now,
  read,
} from '../../../support/rollover-state.ts';

const signerName = 'kubernetes.io/kube-apiserver-client-kubelet';

function derOf(pem: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new X509Certificate(pem).raw);
}

describe('judgeSigner()', () => {
  let authorities: Required<RolloverAuthorities>;
  const leaves: Record<'old' | 'next' | 'other', Uint8Array<ArrayBuffer>> = {
    old: new Uint8Array(),
    next: new Uint8Array(),
    other: new Uint8Array(),
  };
  before(async () => {
    const issue = async (ca: ClusterCa): Promise<Uint8Array<ArrayBuffer>> =>
      derOf(
        (
          await ca.issue({
            commonName: 'system:node:node-1',
            organizations: ['system:nodes'],
            usage: 'client auth',
          })
        ).certificatePem,
      );
    // All have the same name.
    const [old, next, other] = [
      await createClusterCa(),
      await createClusterCa(),
      await createClusterCa(),
    ];
    authorities = {
      old: { ...authority('a'), der: derOf(old.certificatePem) },
      next: { ...authority('b'), der: derOf(next.certificatePem) },
    };
    leaves.old = await issue(old);
    leaves.next = await issue(next);
    leaves.other = await issue(other);
  });

  function by(issuer: keyof typeof leaves): SignerActivity {
    const newest = { csr: 'csr-1', approvedAt: now - minute, leaf: leaves[issuer] };
    return { signerName, newest, unissued: [] };
  }

  function approved(...minutesAgo: readonly number[]): SignerActivity {
    const unissued = minutesAgo.map((ago) => ({
      csr: `csr-${ago}`,
      approvedAt: now - ago * minute,
    }));
    return { ...by('next'), unissued };
  }

  const cases: Readonly<
    Record<
      string,
      readonly [() => readonly SignerActivity[], Partial<GateInput>, readonly string[]]
    >
  > = {
    'is open when the new CA issued the newest certificate of each signer': [
      () => [by('next'), { signerName: 'kubernetes.io/kubelet-serving', unissued: [] }],
      {},
      [],
    ],
    'waits while a signer uses the old CA': [
      () => [by('next'), by('old')],
      {},
      [
        `waiting the newest certificate of ${signerName} was issued by the old CA: CSR csr-1, 1m ago`,
      ],
    ],
    'compares keys, not names': [
      () => [by('other')],
      {},
      [
        `waiting the newest certificate of ${signerName} was issued by another CA: CSR csr-1, 1m ago`,
      ],
    ],
    'waits for the first certificate': [
      () => [{ signerName, unissued: [] }],
      {},
      ['waiting no issued CSR shows which CA kube-controller-manager signs with'],
    ],
    'accepts a signing file instead': [
      () => [],
      { signingFiles: [{ place: 'pki/ca-signing.crt', issuer: 'next' }] },
      [],
    ],
    'waits for a signing file of a standby': [
      () => [by('next')],
      { signingFiles: [{ place: 'pki/ca-signing.crt', issuer: 'old' }] },
      ['waiting pki/ca-signing.crt has the old CA'],
    ],
    'is harmful when a signing file is a bundle': [
      () => [by('next')],
      { signingFiles: [{ place: 'pki/ca.crt', issuer: 'unreadable' }] },
      ['harmful pki/ca.crt is not one CA certificate, so nothing is signed with it'],
    ],
    'is harmful after a silence of 5 minutes': [
      () => [approved(12, 5, 4)],
      {},
      [
        `harmful ${signerName} has issued nothing for 12m: 2 CSRs approved and not issued [csr-12 csr-5]`,
      ],
    ],
    'is unknown for a control-plane node without a report': [
      () => [by('next')],
      { hiddenControlPlanes: [{ state: 'unknown', message: 'no report' }] },
      ['unknown no report'],
    ],
    'allows a new leader some time': [() => [approved(4)], {}, []],
  };
  for (const [name, [signers, others, expected]] of Object.entries(cases)) {
    it(name, () => {
      const gate = judgeSigner(gateInput({ signers: read(signers()) }, { authorities, ...others }));
      assert.deepEqual(lines(gate.reasons), expected);
      assert.equal(gate.state, expected[0]?.split(' ')[0] ?? 'open');
    });
  }

  it('is unknown for a credential that may not list CSRs', () => {
    assert.deepEqual(lines(judgeSigner(gateInput({ signers: forbidden })).reasons), [
      'unknown cannot see CertificateSigningRequests: HTTP status 403',
    ]);
  });
});
