import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LocalChecks } from '../../../src/trust/cluster/local-checks.ts';
import { checkLocalControlPlane } from '../../../src/trust/cluster/local-checks.ts';
import type { LocalControlPlane } from '../../../src/trust/cluster/local-control-plane.ts';
import type { ServerProbe } from '../../../src/trust/cluster/probes.ts';

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
];

describe('checkLocalControlPlane()', () => {
  for (const { name, local, probes = [cp1, cp2], expected } of cases) {
    it(name, () => {
      const reasons = checkLocalControlPlane({ local: { ...fine, ...local }, probes });
      assert.equal(reasons.length, expected.length, JSON.stringify(reasons));
      for (const [at, [state, message]] of expected.entries()) {
        assert.equal(reasons[at]?.state, state);
        assert.match(reasons[at]?.message ?? '', message);
        assert.ok(reasons[at]?.remedy);
      }
    });
  }
});
