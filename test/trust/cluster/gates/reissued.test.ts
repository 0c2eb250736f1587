import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute } from '../../../../src/core/instant.ts';
import type { GateInput } from '../../../../src/trust/cluster/gate.ts';
import { judgeReissued } from '../../../../src/trust/cluster/gates/reissued.ts';
import {
  forbidden,
  gateInput,
  lines,
  nextDigits,
  node,
  now,
  oldDigits,
  read,
  report,
} from '../../../support/rollover-state.ts';

function withLeaves(
  leaf: Readonly<Record<string, string>>,
  others: Partial<GateInput> = {},
): GateInput {
  return gateInput({ nodes: read([node('node-1', { report: report({ leaf }) })]) }, others);
}

const done = { 'kubelet-client': nextDigits, 'kubelet-server': nextDigits };
const servers = {
  serves: new Set(['next'] as const),
  rejects: new Set(['old'] as const),
  rejectsOldTrust: false,
};

describe('judgeReissued()', () => {
  const cases: Readonly<Record<string, readonly [GateInput, readonly string[]]>> = {
    'is open when the new CA issued all certificates': [
      withLeaves(done, { leaves: [{ place: 'port 10250 of node-1', issuer: 'next' }] }),
      [],
    ],
    'waits for a certificate of a node': [
      withLeaves({ ...done, 'kubelet-server': oldDigits }),
      ['waiting 1 node of 1: the certificate kubelet-server was issued by the old CA [node-1]'],
    ],
    'waits for a certificate issued by an unknown CA': [
      withLeaves({ ...done, 'kubelet-server': '' }),
      ['waiting 1 node of 1: the certificate kubelet-server was issued by another CA [node-1]'],
    ],
    'waits for a kubelet that may use its previous client certificate': [
      gateInput({
        nodes: read([
          node('node-1', { report: report({ leaf: done, clientReadAt: now + 1 }) }),
          node('node-2', { report: report({ leaf: done, clientReadAt: now }) }),
        ]),
      }),
      ['waiting 1 node of 2: the kubelet may still use its previous client certificate [node-1]'],
    ],
    'waits for a kubelet without the new CA, and not for one without the old CA': [
      gateInput({
        nodes: read([
          node('node-1', { report: report({ leaf: done, unread: [nextDigits] }) }),
          node('node-2', { report: report({ leaf: done, unread: [oldDigits] }) }),
        ]),
      }),
      ['waiting 1 node of 2: the kubelet may not have loaded the new CA from its files [node-1]'],
    ],
    'waits for a report with certificates': [
      withLeaves({}),
      ['waiting 1 node of 1: the report names no certificate [node-1]'],
    ],
    'waits for a node without a report': [
      gateInput({
        nodes: read([
          {
            name: 'node-2',
            addresses: [],
            kubeletPort: 10_250,
            isReady: true,
            isControlPlane: false,
          },
        ]),
      }),
      ['waiting 1 node of 1: the Node has no annotation nodecertd.io/trust [node-2]'],
    ],
    'leaves excepted nodes behind': [
      withLeaves(
        { 'kubelet-client': oldDigits },
        { confirmed: { exceptNodes: new Set(['node-1']) } },
      ),
      [],
    ],
    'waits for served certificates and component certificates': [
      withLeaves(done, {
        leaves: [
          { place: 'port 10250 of node-1', issuer: 'old' },
          { place: '/etc/kubernetes/admin.conf', issuer: 'old' },
          { place: '/etc/kubernetes/scheduler.conf', issuer: 'other' },
          { place: '/etc/kubernetes/super-admin.conf', issuer: 'unreadable' },
        ],
      }),
      [
        'waiting certificates issued by the old CA are in use [port 10250 of node-1 /etc/kubernetes/admin.conf]',
        'waiting certificates issued by neither CA are in use [/etc/kubernetes/scheduler.conf]',
        'unknown cannot see the issuer of certificates [/etc/kubernetes/super-admin.conf]',
      ],
    ],
    'is harmful when an API server rejects the old CA': [
      withLeaves({ 'kubelet-client': oldDigits }, { servers }),
      ['harmful 1 node of 1: the certificate kubelet-client was issued by the old CA [node-1]'],
    ],
    'waits until each API server uses its new client certificate for kubelets': [
      withLeaves(done, {
        kubeletClients: [
          { place: 'apiserver-kubelet-client.crt', changedAt: now - 6 * minute, issuer: 'next' },
          {
            place: 'apiserver-kubelet-client.crt on cp2',
            changedAt: now - 2 * minute,
            issuer: 'next',
          },
        ],
      }),
      [
        'waiting apiserver-kubelet-client.crt on cp2 changed 2m ago, and API servers may use the previous one for 6m',
      ],
    ],
    'accepts the client certificate for kubelets after 6 minutes': [
      withLeaves(done, {
        kubeletClients: [{ place: 'cp2', changedAt: now - 6 * minute, issuer: 'next' }],
      }),
      [],
    ],
    'accepts the client certificate for kubelets of an API server that started later': [
      withLeaves(done, {
        kubeletClients: [
          { place: 'cp1', changedAt: now - 2 * minute, serverStartedAt: now, issuer: 'next' },
          {
            place: 'cp2',
            changedAt: now - 2 * minute,
            serverStartedAt: now - 3 * minute,
            issuer: 'next',
          },
        ],
      }),
      ['waiting cp2 changed 2m ago, and API servers may use the previous one for 6m'],
    ],
    'is unknown for a control-plane node without a report': [
      withLeaves(done, { hiddenControlPlanes: [{ state: 'unknown', message: 'no report' }] }),
      ['unknown no report'],
    ],
    'is unknown for a credential that may not list Nodes': [
      gateInput({ nodes: forbidden }),
      ['unknown cannot see Nodes: HTTP status 403'],
    ],
  };
  it('names the remedy for a node whose certificate is rejected', () => {
    const { reasons } = judgeReissued(withLeaves({ 'kubelet-client': oldDigits }, { servers }));
    assert.match(
      reasons[0]?.remedy ?? '',
      /^Write both CAs into --client-ca-file .*; then, on the node: nodecertd renew kubelet-client$/,
    );
  });

  for (const [name, [input, expected]] of Object.entries(cases)) {
    it(name, () => {
      const gate = judgeReissued(input);
      assert.deepEqual(lines(gate.reasons), expected);
      assert.equal(gate.state, expected[0]?.split(' ')[0] ?? 'open');
    });
  }
});
