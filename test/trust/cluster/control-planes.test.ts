import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import { hour } from '../../../src/core/instant.ts';
import type {
  ControlPlaneQuestion,
  ControlPlanes,
} from '../../../src/trust/cluster/control-planes.ts';
import {
  kubeletAuthoritiesOf,
  kubeletClientsOf,
  leavesOf,
  otherControlPlanes,
  signingFilesOf,
} from '../../../src/trust/cluster/control-planes.ts';
import type { ClusterNode } from '../../../src/trust/cluster/state.ts';
import {
  forbidden,
  lines,
  next,
  nextDigits,
  node,
  now,
  old,
  oldDigits,
  read,
} from '../../support/rollover-state.ts';

const report: ControlPlaneAnnotation = {
  authorities: [oldDigits, nextDigits],
  signer: oldDigits,
  leaves: {
    'admin.conf': { issuer: oldDigits, fingerprint: '1'.repeat(16) },
    'apiserver-kubelet-client': { issuer: nextDigits, fingerprint: '2'.repeat(16) },
    'scheduler.conf': { issuer: '', fingerprint: '' },
    'super-admin.conf': { issuer: '', fingerprint: '3'.repeat(16) },
  },
  kubeletClientChangedAt: now - hour,
  kubeletAuthority: { authorities: ['c'.repeat(16), nextDigits], changedAt: now - hour },
  startedAt: {},
  reportedAt: now,
};

function controlPlane(name: string, changes: Partial<ClusterNode> = {}): ClusterNode {
  return node(name, {
    addresses: [`10.0.0.${name.at(-1)}`],
    isControlPlane: true,
    controlPlane: report,
    ...changes,
  });
}

const elsewhere = { servers: [], own: new Set<string>(), exceptNodes: new Set<string>() };

/** Of a cluster with these Nodes, seen from a machine that is none of them. */
function others(
  nodes: readonly ClusterNode[],
  question: Partial<ControlPlaneQuestion> = {},
): ControlPlanes {
  const state = { nodes: read(nodes), readAt: now };
  return otherControlPlanes({ state, ...elsewhere, ...question });
}

function names({ reported }: ControlPlanes): string[] {
  return reported.map((one) => one.node);
}

const { controlPlane: _, ...unreported } = controlPlane('cp3');

describe('otherControlPlanes()', () => {
  it('finds the nodes with the label, and leaves out workers', () => {
    const found = others([controlPlane('cp1'), node('worker-1'), controlPlane('cp2')]);
    assert.deepEqual([names(found), found.hidden], [['cp1', 'cp2'], []]);
  });

  it('finds a Node without the label that has the address of an API server', () => {
    const nodes = [node('cp1', { addresses: ['10.0.0.1'] }), node('worker-1', { addresses: [] })];
    const { hidden } = others(nodes, { servers: [{ host: '10.0.0.1' }] });
    assert.deepEqual(hidden[0]?.objects, ['cp1']);
  });

  it('leaves out this machine, whose files are read directly', () => {
    const found = others([controlPlane('cp1'), controlPlane('cp2')], {
      own: new Set(['10.0.0.1']),
    });
    assert.deepEqual(names(found), ['cp2']);
  });

  it('leaves out excepted nodes', () => {
    const found = others([controlPlane('cp1'), unreported], { exceptNodes: new Set(['cp3']) });
    assert.deepEqual([names(found), found.hidden], [['cp1'], []]);
  });

  it('is empty for a credential that may not list Nodes', () => {
    const state = { nodes: forbidden, readAt: now };
    const found = otherControlPlanes({ state, ...elsewhere });
    assert.deepEqual(found, { reported: [], hidden: [] });
  });

  const hidden: Readonly<Record<string, readonly [ClusterNode, string, RegExp]>> = {
    'has no report': [
      unreported,
      'the Node has no annotation nodecertd.io/control-plane-trust',
      /trust sync; or run nodecertd ca-rollover status on each, .*: --except NODE$/,
    ],
    'has a malformed report': [
      controlPlane('cp3', { controlPlane: 'malformed' }),
      'the annotation nodecertd.io/control-plane-trust is malformed',
      /nodecertd trust sync$/,
    ],
    'has an old report': [
      controlPlane('cp3', { controlPlane: { ...report, reportedAt: now - 26 * hour } }),
      'the annotation nodecertd.io/control-plane-trust is older than 1d 1h',
      /nodecertd trust sync$/,
    ],
    'has a report from the future': [
      controlPlane('cp3', { controlPlane: { ...report, reportedAt: now + hour } }),
      'the annotation nodecertd.io/control-plane-trust is from the future',
      /^Correct the clock/,
    ],
  };
  for (const [name, [hiddenNode, what, remedy]] of Object.entries(hidden)) {
    it(`names a node that ${name}`, () => {
      const found = others([controlPlane('cp1'), hiddenNode]);
      assert.deepEqual(names(found), ['cp1']);
      assert.deepEqual(lines(found.hidden), [
        `unknown 1 of 2 other control-plane nodes: ${what} [cp3]`,
      ]);
      assert.match(found.hidden[0]?.remedy ?? '', remedy);
    });
  }
});

describe('what other control-plane nodes report', () => {
  const authorities = { old, next };
  const found = others([controlPlane('cp2')]);

  it('has the CA of each signing file', () => {
    const place = 'the file of kube-controller-manager --cluster-signing-cert-file on cp2';
    assert.deepEqual(signingFilesOf(found, authorities), [{ place, issuer: 'old' }]);
    const signers = [
      [nextDigits, 'next'],
      ['c'.repeat(16), 'other'],
      ['', 'unreadable'],
    ] as const;
    for (const [signer, issuer] of signers) {
      const one = others([controlPlane('cp2', { controlPlane: { ...report, signer } })]);
      assert.equal(signingFilesOf(one, authorities)[0]?.issuer, issuer);
    }
    const { signer: __, ...without } = report;
    const one = others([controlPlane('cp2', { controlPlane: without })]);
    assert.deepEqual(signingFilesOf(one, authorities), []);
  });

  it('has the issuer of each certificate', () => {
    assert.deepEqual(
      leavesOf(found, authorities).map(({ place, issuer }) => `${place}: ${issuer}`),
      [
        'admin.conf on cp2: old',
        'apiserver-kubelet-client.crt on cp2: next',
        'scheduler.conf on cp2: unreadable',
        'super-admin.conf on cp2: other',
      ],
    );
  });

  it('has what kube-apiserver uses for kubelets', () => {
    assert.deepEqual(kubeletClientsOf(found, authorities), [
      { place: 'apiserver-kubelet-client.crt on cp2', changedAt: now - hour, issuer: 'next' },
    ]);
    assert.deepEqual(kubeletAuthoritiesOf(found, authorities), [
      {
        flag: 'kube-apiserver --kubelet-certificate-authority',
        path: 'the file on cp2',
        has: ['next'],
        changedAt: now - hour,
      },
    ]);
  });
});
