import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute } from '../../../../src/core/instant.ts';
import type { TrustFile } from '../../../../src/trust/cluster/local-trust.ts';
import type { ProbeResult, ServerProbe } from '../../../../src/trust/cluster/probes.ts';
import type { ServersFacts } from '../../../../src/trust/cluster/gates/servers.ts';
import { judgeServers } from '../../../../src/trust/cluster/gates/servers.ts';

const accepted: ProbeResult = { kind: 'accepted' };
const rejected: ProbeResult = { kind: 'rejected' };
const noKey: ProbeResult = { kind: 'no-key' };
const failed: ProbeResult = { kind: 'failed', reason: 'connect ECONNREFUSED 10.0.0.2:6443' };

const readAt = Date.UTC(2026, 10, 29);
const kubeletAuthority: TrustFile = {
  flag: 'kube-apiserver --kubelet-certificate-authority',
  path: '/etc/kubernetes/pki/kubelet-ca.crt',
  changedAt: readAt - 6 * minute,
  has: ['old', 'next'],
};

function probe(name: string, byOld: ProbeResult, byNext: ProbeResult): ServerProbe {
  return {
    server: { name, host: '10.0.0.2', port: 6443 },
    served: { issuedBy: 'old', hasBridge: false },
    byOld,
    byNext,
  };
}

const cases: readonly {
  readonly name: string;
  readonly facts: Partial<ServersFacts>;
  readonly state: string;
  readonly reasons?: readonly (readonly [message: RegExp, objects?: readonly string[]])[];
}[] = [
  {
    name: 'is open if each server accepts both',
    facts: { probes: [probe('cp1', accepted, accepted), probe('cp2', accepted, accepted)] },
    state: 'open',
  },
  {
    name: 'waits if one server rejects certificates from the new CA',
    facts: { probes: [probe('cp1', accepted, accepted), probe('cp2', accepted, rejected)] },
    state: 'waiting',
    reasons: [[/rejects client certificates issued by the new CA$/, ['cp2']]],
  },
  {
    name: 'is harmful if certificates from a rejected new CA are in use (W2)',
    facts: { probes: [probe('cp2', accepted, rejected)], isNextInUse: true },
    state: 'harmful',
    reasons: [[/by the new CA; certificates issued by the new CA are in use/, ['cp2']]],
  },
  {
    name: 'is harmful if a server rejects clients that still have the old CA (W3)',
    facts: { probes: [probe('cp1', rejected, accepted)] },
    state: 'harmful',
    reasons: [[/by the old CA; certificates issued by the old CA are in use/, ['cp1']]],
  },
  {
    name: 'is open if the old CA is rejected and no longer in use',
    facts: { probes: [probe('cp1', rejected, accepted)], isOldInUse: false },
    state: 'open',
  },
  {
    name: 'is open if kube-apiserver has read both CAs of kubelets',
    facts: { kubeletAuthorities: [kubeletAuthority, kubeletAuthority] },
    state: 'open',
  },
  {
    name: 'waits until kube-apiserver has read the CAs of kubelets',
    facts: { kubeletAuthorities: [{ ...kubeletAuthority, changedAt: readAt - 2 * minute }] },
    state: 'waiting',
    reasons: [[/kubelet-ca\.crt .*changed 2m ago/]],
  },
  {
    name: 'waits if the CAs of kubelets lack the new one (W8)',
    facts: { kubeletAuthorities: [kubeletAuthority, { ...kubeletAuthority, has: ['old'] }] },
    state: 'waiting',
    reasons: [[/kubelet-ca\.crt .*lacks the new CA$/]],
  },
  {
    name: 'is harmful if kubelets serve certificates from a CA that is missing there (W8)',
    facts: {
      kubeletAuthorities: [{ ...kubeletAuthority, has: ['old'] }],
      servedByKubelets: new Set(['next', 'old']),
    },
    state: 'harmful',
    reasons: [[/lacks the new CA, which issued certificates that kubelets serve$/]],
  },
  {
    name: 'names kube-controller-manager if a server rejects the CA of its certificate (W9)',
    facts: {
      probes: [probe('cp1', accepted, rejected)],
      isNextInUse: true,
      managers: [
        { place: '/etc/kubernetes/controller-manager.conf', issuer: 'old' },
        { place: 'controller-manager.conf on cp2', issuer: 'next' },
      ],
    },
    state: 'harmful',
    reasons: [[/also by kube-controller-manager \(controller-manager\.conf on cp2\)$/, ['cp1']]],
  },
  {
    name: 'is unknown for a control-plane node without a report',
    facts: {
      hiddenControlPlanes: [{ state: 'unknown', message: 'no report', remedy: 'Run it' }],
    },
    state: 'unknown',
    reasons: [[/^no report$/]],
  },
  {
    name: 'is unknown without the key of a CA, with one reason for all servers',
    facts: { probes: [probe('cp1', accepted, noKey), probe('cp2', accepted, noKey)] },
    state: 'unknown',
    reasons: [[/by the new CA, because its key is not on this machine/]],
  },
  {
    name: 'is open without the key of an old CA that is no longer in use',
    facts: { probes: [probe('cp1', noKey, accepted)], isOldInUse: false },
    state: 'open',
  },
  {
    name: 'is unknown if the credential may not list the API servers',
    facts: {
      unlisted: { code: 'API_FORBIDDEN', message: 'HTTP status 403', remedy: 'Bind a role' },
    },
    state: 'unknown',
    reasons: [[/^cannot see all API servers: HTTP status 403/]],
  },
  {
    name: 'is unknown for a server that is down, after the harmful reasons',
    facts: { probes: [probe('cp1', failed, failed), probe('cp2', rejected, accepted)] },
    state: 'harmful',
    reasons: [
      [/certificates issued by the old CA are in use/, ['cp2']],
      [/on cp1 could not be probed: connect ECONNREFUSED/],
    ],
  },
];

const none: ServersFacts = {
  probes: [],
  isOldInUse: true,
  isNextInUse: false,
  isOldGone: false,
  servedByKubelets: new Set(),
  kubeletAuthorities: [],
  managers: [],
  hiddenControlPlanes: [],
  readAt,
};

describe('judgeServers()', () => {
  for (const { name, facts, state, reasons = [] } of cases) {
    it(name, () => {
      const gate = judgeServers({ ...none, ...facts });
      assert.equal(gate.state, state);
      assert.equal(gate.reasons.length, reasons.length, JSON.stringify(gate.reasons));
      for (const [at, [message, objects]] of reasons.entries()) {
        assert.match(gate.reasons[at]?.message ?? '', message);
        assert.deepEqual(gate.reasons[at]?.objects, objects);
        assert.ok(gate.reasons[at]?.remedy);
      }
    });
  }

  for (const [isNextInUse, step] of [
    [false, 'trust'],
    [true, 'switch'],
  ] as const) {
    it(`names the step that writes ca.crt again, which is ${step}`, () => {
      const { reasons } = judgeServers({
        ...none,
        probes: [probe('cp1', accepted, rejected)],
        isNextInUse,
      });
      const command = `nodecertd ca-rollover apply ${step} --ca kubernetes`;
      assert.equal(reasons[0]?.remedy?.endsWith(command), true);
    });
  }

  it('names the return of a node that was off until the old CA was gone', () => {
    const probes = [probe('cp3', noKey, rejected)];
    const facts = { probes, isNextInUse: true, isOldInUse: false, isOldGone: true };
    const { state, reasons } = judgeServers({ ...none, ...facts });
    assert.equal(state, 'harmful');
    assert.match(
      reasons[0]?.remedy ?? '',
      /If cp3 was off .*: nodecertd ca-rollover plan --return cp3;/,
    );
  });

  it('names the return on a node that still has certificates from the old CA', () => {
    const probes = [probe('cp1', rejected, noKey), probe('cp3', accepted, noKey)];
    const facts = { probes, isNextInUse: true, isOldInUse: true, isOldGone: true };
    const { reasons } = judgeServers({ ...none, ...facts });
    const rejecting = reasons.find(({ objects }) => objects?.includes('cp1'));
    assert.match(
      rejecting?.remedy ?? '',
      /^If this node was off .* plan --return NODE; it prints the commands\. Otherwise: Write both/,
    );
  });
});
