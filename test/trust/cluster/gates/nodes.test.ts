import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, hour, minute } from '../../../../src/core/instant.ts';
import type { GateInput } from '../../../../src/trust/cluster/gate.ts';
import { judgeNodes } from '../../../../src/trust/cluster/gates/nodes.ts';
import type { ClusterNode } from '../../../../src/trust/cluster/state.ts';
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

const unreported: ClusterNode = {
  name: 'node-2',
  addresses: [],
  kubeletPort: 10_250,
  isReady: true,
  isControlPlane: false,
};

function withReport(
  changes: Parameters<typeof report>[0],
  others: Partial<GateInput> = {},
): GateInput {
  return gateInput({ nodes: read([node('node-1', { report: report(changes) })]) }, others);
}

const oldAlone = { kubeconfig: [oldDigits], clientCa: [oldDigits, nextDigits] };
const servers = {
  serves: new Set(['next'] as const),
  rejects: new Set<never>(),
  rejectsOldTrust: true,
};

describe('judgeNodes()', () => {
  const cases: Readonly<Record<string, readonly [GateInput, readonly string[]]>> = {
    'is open when each node has both CAs and its kubelet uses them': [gateInput(), []],
    'waits for the kubeconfig': [
      withReport({ places: oldAlone }),
      ['waiting 1 node of 1: the kubeconfig of the kubelet lacks the new CA [node-1]'],
    ],
    'waits for clientCAFile': [
      withReport({ places: { kubeconfig: [oldDigits, nextDigits], clientCa: [nextDigits] } }),
      ['waiting 1 node of 1: clientCAFile lacks the old CA [node-1]'],
    ],
    'waits for the kubelet': [
      withReport({ readers: 'pending' }),
      ['waiting 1 node of 1: the kubelet has not loaded the CAs of its files [node-1]'],
    ],
    'does not wait for the kubelet if the bridge will be served': [
      withReport({ readers: 'pending' }, { confirmed: { bridge: true } }),
      [],
    ],
    'accepts a report of the last 25 hours': [withReport({ reportedAt: now - 25 * hour }), []],
    'waits for a newer report': [
      withReport({ reportedAt: now - 25 * hour - 1 }),
      ['waiting 1 node of 1: the annotation nodecertd.io/trust is older than 1d 1h [node-1]'],
    ],
    'accepts a clock that is 5 minutes fast': [withReport({ reportedAt: now + 5 * minute }), []],
    'waits for a report of a node whose clock is right': [
      withReport({ reportedAt: now + 6 * minute, readers: 'pending' }),
      [
        'waiting 1 node of 1: the annotation nodecertd.io/trust is from the future [node-1]',
        'waiting 1 node of 1: the kubelet has not loaded the CAs of its files [node-1]',
      ],
    ],
    'waits for a report that can be read': [
      gateInput({ nodes: read([node('node-1', { report: 'malformed' })]) }),
      ['waiting 1 node of 1: the annotation nodecertd.io/trust is malformed [node-1]'],
    ],
    'needs nothing of a node that is offline and has both CAs': [
      gateInput({ nodes: read([node('node-1', { isReady: false })]) }),
      [],
    ],
    'is harmful when a node trusts the old CA alone, and servers present the new one': [
      withReport({ places: oldAlone }, { servers }),
      ['harmful 1 node of 1: the kubeconfig of the kubelet lacks the new CA [node-1]'],
    ],
    'is harmful then even if the report is old': [
      withReport({ places: oldAlone, reportedAt: now - 3 * day }, { servers }),
      [
        'harmful 1 node of 1: the kubeconfig of the kubelet lacks the new CA [node-1]',
        'waiting 1 node of 1: the annotation nodecertd.io/trust is older than 1d 1h [node-1]',
      ],
    ],
    'is harmful when a node lost the old CA, and servers present it': [
      withReport(
        { places: { kubeconfig: [nextDigits], clientCa: [oldDigits, nextDigits] } },
        { servers: { ...servers, serves: new Set(['old'] as const), rejectsOldTrust: false } },
      ),
      ['harmful 1 node of 1: the kubeconfig of the kubelet lacks the old CA [node-1]'],
    ],
    'is harmful when an API server contacts kubelets with a certificate they reject (W7)': [
      withReport(
        { places: { kubeconfig: [oldDigits, nextDigits], clientCa: [oldDigits] } },
        {
          kubeletClients: [
            { place: 'cp1', changedAt: now, issuer: 'old' },
            { place: 'cp2', changedAt: now, issuer: 'next' },
          ],
        },
      ),
      [
        'harmful 1 node of 1: clientCAFile lacks the new CA, which issued the client certificate of kube-apiserver for kubelets [node-1]',
      ],
    ],
    'is unknown for a credential that may not list Nodes': [
      gateInput({ nodes: forbidden }),
      ['unknown cannot see Nodes: HTTP status 403'],
    ],
  };
  for (const [name, [input, expected]] of Object.entries(cases)) {
    it(name, () => {
      const gate = judgeNodes(input);
      assert.deepEqual(lines(gate.reasons), expected);
      assert.equal(gate.state, expected[0]?.split(' ')[0] ?? 'open');
    });
  }

  it('names the remedy also when the node that rejects the API servers is offline', () => {
    const offline = node('node-1', { report: report({ places: oldAlone }), isReady: false });
    const { reasons } = judgeNodes(gateInput({ nodes: read([offline]) }, { servers }));
    assert.deepEqual(lines(reasons), [
      'harmful 1 node of 1: not Ready, and the kubeconfig of the kubelet lacks the new CA [node-1]',
    ]);
    const remedy =
      /^If these nodes are off, ignore them: --except NODE. Otherwise: Append the bridge/;
    assert.match(reasons[0]?.remedy ?? '', remedy);
  });

  it('has one reason each for nodes without agent, offline, and with an old report', () => {
    const nodes = [
      node('node-1'),
      unreported,
      node('node-3', { report: report({ places: oldAlone }), isReady: false }),
      node('node-4', { report: report({ reportedAt: now - 3 * day }) }),
    ];
    assert.deepEqual(lines(judgeNodes(gateInput({ nodes: read(nodes) })).reasons), [
      'waiting 1 node of 4: the Node has no annotation nodecertd.io/trust [node-2]',
      'waiting 1 node of 4: not Ready, and the kubeconfig of the kubelet lacks the new CA [node-3]',
      'waiting 1 node of 4: the annotation nodecertd.io/trust is older than 1d 1h [node-4]',
    ]);
    const exceptNodes = new Set(['node-2', 'node-3', 'node-4']);
    const excepted = judgeNodes(gateInput({ nodes: read(nodes) }, { confirmed: { exceptNodes } }));
    assert.deepEqual(excepted, { id: 'G3', state: 'open', reasons: [] });
  });
});
