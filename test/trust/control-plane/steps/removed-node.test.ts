import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TrustAuthority } from '../../../../src/core/trust.ts';
import { shortFingerprint } from '../../../../src/core/trust.ts';
import type { ControlPlaneNode } from '../../../../src/trust/control-plane/control-plane-nodes.ts';
import { notFormer, otherProxies } from '../../../../src/trust/control-plane/steps/removed-node.ts';
import { next as nextPair, old as oldPair } from '../check-context.ts';

const { authority: old } = oldPair;
const { authority: next } = nextPair;

/** The CA in ca.crt of cp2. Without it, the node has not reported. */
function cp2(trusted?: TrustAuthority): ControlPlaneNode {
  const node = { name: 'cp2', isReady: true, addresses: [] };
  if (trusted === undefined) return node;
  const authorities = [shortFingerprint(trusted.fingerprint)];
  return { ...node, report: { authorities, leaves: {}, startedAt: {}, reportedAt: 0 } };
}

describe('notFormer()', () => {
  it('allows the removal of a CA that no server and no other node uses', () => {
    assert.deepEqual(notFormer([{ old, next }], { published: [next], others: [cp2(next)] }), []);
    assert.deepEqual(notFormer([], { published: [next], others: [cp2(next)] }), []);
  });

  const cases = [
    ['a node that was off lacks the CA of the cluster', [old], /has the CA CN=kubernetes \(/],
    [
      'kube-root-ca.crt still has both CAs',
      [old, next],
      /has the CA CN=kubernetes \(.* this node lacks$/,
    ],
    ['no CA is published', [], /lacks the CA CN=kubernetes 2026-11 \(.* of this node$/],
  ] as const;
  for (const [name, published, message] of cases) {
    it(`refuses while ${name}`, () => {
      const [reason, ...others] = notFormer([{ old, next }], { published, others: [cp2()] });
      assert.deepEqual([reason?.state, others], ['waiting', []]);
      assert.match(reason?.message ?? '', message);
      assert.match(reason?.remedy ?? '', /plan --return NODE; it prints the commands$/);
    });
  }

  it('refuses while another control-plane node trusts the CA', () => {
    const others = [cp2(old), { ...cp2(next), name: 'cp3' }];
    const [reason, ...more] = notFormer([{ old, next }], { published: [next], others });
    assert.deepEqual(more, []);
    assert.match(reason?.message ?? '', /^the node cp2 reports the CA CN=kubernetes \(/);
    assert.match(reason?.remedy ?? '', /nodecertd trust sync\. If this node was off/);
  });
});

function proxyOn(name: string, issuer?: TrustAuthority): ControlPlaneNode {
  const node = { ...cp2(old), name };
  const frontProxyClient = issuer && shortFingerprint(issuer.fingerprint);
  if (node.report === undefined || frontProxyClient === undefined) return node;
  return { ...node, report: { ...node.report, frontProxyClient } };
}

describe('otherProxies()', () => {
  it('is empty if every other kube-apiserver uses a certificate from the CA of this node', () => {
    assert.deepEqual(otherProxies(next, [proxyOn('cp2', next)]), []);
    assert.deepEqual(otherProxies(next, []), []);
  });

  it('names a node with another CA, and a node without a report', () => {
    const [other, unknown, ...more] = otherProxies(next, [proxyOn('cp2', old), proxyOn('cp3')]);
    assert.deepEqual(more, []);
    assert.match(other?.message ?? '', /^the node cp2 reports the CA [0-9a-f]{16} as the issuer/);
    assert.match(other?.remedy ?? '', /kubeadm certs renew front-proxy-client/);
    assert.match(unknown?.message ?? '', /^the node cp3 has not reported the issuer/);
    assert.match(unknown?.remedy ?? '', /nodecertd trust sync; or .* --except cp3$/);
  });
});
