import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import type { LocalChecks } from '../../../src/trust/cluster/local-checks.ts';
import { checkLocalControlPlane } from '../../../src/trust/cluster/local-checks.ts';
import type { LocalControlPlane } from '../../../src/trust/cluster/local-control-plane.ts';
import type { ServerProbe } from '../../../src/trust/cluster/probes.ts';
import { lines } from '../../support/rollover-state.ts';

const both = ['old', 'next'] as const;
const clientCa = { flag: 'kube-apiserver --client-ca-file', path: '/pki/ca.crt', has: both };
const rootCa = { flag: 'kube-controller-manager --root-ca-file', path: '/pki/b.crt', has: both };
const admin = { flag: 'kubeconfig', path: '/admin.conf', has: both };
const fine: LocalControlPlane = {
  isControlPlane: true,
  leaves: [],
  signingFiles: [{ place: '/pki/ca-signing.crt', issuer: 'old' }],
  trustFiles: [clientCa, rootCa],
  kubeconfigs: [admin],
  keys: [{ certificate: '/pki/ca.crt', key: '/pki/ca.key', matches: true }],
  trust: { authorities: ['a', 'b'], next: 'b', leaves: {}, etcdAuthorities: 1 },
};
const cp1: ServerProbe = {
  server: { name: 'cp1', host: '10.0.0.1', port: 6443 },
  served: { issuedBy: 'next', hasBridge: true },
  byOld: { kind: 'accepted' },
  byNext: { kind: 'accepted' },
};
const cp2: ServerProbe = { ...cp1, server: { ...cp1.server, name: 'cp2' } };

const cases: readonly {
  readonly name: string;
  readonly local?: Partial<LocalControlPlane>;
  readonly probes?: LocalChecks['probes'];
  /** What another control-plane node reports. */
  readonly reported?: Partial<ControlPlaneAnnotation>;
  readonly expected: readonly (readonly [state: string, message: RegExp])[];
}[] = [
  { name: 'finds nothing if all files have both CAs', expected: [] },
  {
    name: 'names a key that does not match its certificate',
    local: { keys: [{ certificate: '/pki/ca.crt', key: '/pki/ca.key', matches: false }] },
    expected: [
      ['harmful', /^\/pki\/ca.key does not match the first certificate of \/pki\/ca.crt$/],
    ],
  },
  {
    name: 'names a signing file with a bundle',
    local: { signingFiles: [{ place: '/pki/ca.crt', issuer: 'unreadable' }] },
    expected: [['harmful', /^\/pki\/ca.crt is not one CA certificate/]],
  },
  {
    name: 'names a step that is not complete, after what is harmful',
    local: {
      trustFiles: [clientCa, { ...rootCa, has: ['old'] }],
      kubeconfigs: [{ ...admin, has: [], problem: 'cannot be read' }],
    },
    expected: [
      ['harmful', /^\/admin.conf \(kubeconfig\): cannot be read$/],
      ['waiting', /b.crt .*has the old CA, and \/pki\/ca.crt .*has the old CA and the new CA$/],
    ],
  },
  {
    name: 'names a kubeconfig without the CA of a served certificate',
    local: { kubeconfigs: [{ ...admin, has: ['old'] }] },
    expected: [['harmful', /^\/admin.conf lacks the new CA, by which API servers serve/]],
  },
  {
    name: 'names an API server with other CAs',
    probes: [cp1, { ...cp2, byNext: { kind: 'rejected' } }],
    expected: [['waiting', /do not have the same CAs: cp1 \(old CA accepted, new CA accepted/]],
  },
  {
    name: 'finds nothing if another control-plane node has the same CAs',
    reported: { frontProxyAuthorities: 2 },
    expected: [],
  },
  {
    name: 'names another control-plane node that lacks a CA',
    reported: { authorities: ['a'] },
    expected: [['waiting', /^ca.crt differs .*: this node has a and b \[cp2 \(a\)\]$/]],
  },
  {
    name: 'names another control-plane node with another new CA',
    reported: { next: 'c' },
    expected: [['waiting', /^ca-next.crt differs .*: this node has b \[cp2 \(c\)\]$/]],
  },
  {
    name: 'names another control-plane node in a rollover of the CA of etcd',
    reported: { etcdAuthorities: 2 },
    expected: [['waiting', /^etcd\/ca.crt differs .*: this node has 1 CA \[cp2 \(2 CAs\)\]$/]],
  },
];

describe('checkLocalControlPlane()', () => {
  for (const { name, local, probes = [cp1, cp2], reported, expected } of cases) {
    it(name, () => {
      const own = { ...fine, ...local };
      const report = { leaves: {}, startedAt: {}, reportedAt: 0, authorities: [], ...own.trust };
      const others = { reported: [{ node: 'cp2', report: { ...report, ...reported } }] };
      const reasons = checkLocalControlPlane({ local: own, probes, others });
      assert.equal(reasons.length, expected.length, JSON.stringify(reasons));
      const shown = lines(reasons).map((line) => line.slice(line.indexOf(' ') + 1));
      for (const [at, [state, message]] of expected.entries()) {
        assert.equal(reasons[at]?.state, state);
        assert.match(shown[at] ?? '', message);
        assert.ok(reasons[at]?.remedy);
      }
    });
  }

  it('names the step that writes the files of this node again', () => {
    const local: LocalControlPlane = {
      ...fine,
      keys: [{ certificate: '/pki/ca.crt', key: '/pki/ca.key', matches: false }],
      signingFiles: [{ place: '/pki/ca.crt', issuer: 'unreadable' }],
      trustFiles: [clientCa, { ...rootCa, has: ['old'] }],
      kubeconfigs: [{ ...admin, has: ['old'] }],
    };
    const repair = 'nodecertd ca-rollover apply switch --ca kubernetes';
    const others = { reported: [] };
    const reasons = checkLocalControlPlane({ local, probes: [cp1], others, repair });
    assert.equal(reasons.length, 4);
    for (const { remedy } of reasons) {
      assert.equal(remedy, 'Run on this node: nodecertd ca-rollover apply switch --ca kubernetes');
    }
  });

  const oldAlone = {
    trustFiles: [{ ...clientCa, has: ['old'] as const }],
    kubeconfigs: [{ ...admin, has: ['old'] as const }],
    trust: { authorities: ['a'], leaves: {}, etcdAuthorities: 1 },
  };
  for (const [name, authorities, expected] of [
    ['its return on a node that shares no CA with the others', ['b'], /plan --return NODE; it/],
    ['the step on a node that shares a CA with the others', ['a', 'b'], /ca-rollover plan$/],
  ] as const) {
    it(`names ${name}`, () => {
      const report = { leaves: {}, startedAt: {}, reportedAt: 0, etcdAuthorities: 1, authorities };
      const reasons = checkLocalControlPlane({
        local: { ...fine, ...oldAlone },
        probes: [cp1],
        others: { reported: [{ node: 'cp2', report }] },
      });
      assert.ok(reasons.length >= 2);
      for (const { remedy } of reasons) assert.match(remedy ?? '', expected);
    });
  }
});
