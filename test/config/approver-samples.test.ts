import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PolicyLoader } from '../../src/app/policy-loader.ts';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { createdAt } from '../approver/cluster.ts';
import { dns, ip, nodeSubject } from '../approver/requests.ts';
import { csrObject, nodeObject } from '../cli/approver-objects.ts';
import { runInProcess } from '../cli/in-process.ts';
import { temporaryDirectory } from '../store/pairs.ts';

const folder = fileURLToPath(new URL('../../config/approver', import.meta.url));

/** The saved CSR of worker-1 with these SANs. Its Node has them as well. */
interface Saved {
  readonly names: readonly string[];
  readonly ips: readonly string[];
  readonly more?: readonly object[];
}

function objectsOf({ names, ips, more = [] }: Saved): object[] {
  const username = 'system:node:worker-1';
  const request = {
    subject: nodeSubject(username),
    altNames: [...names.map((one) => dns(one)), ...ips.map((one) => ip(one))],
  };
  const addresses: NodeAddress[] = [
    ...names.map((address) => ({ type: 'InternalDNS', address })),
    ...ips.map((address) => ({ type: 'InternalIP', address })),
  ];
  const node = { ...nodeObject('worker-1'), spec: { providerID: 'test://worker-1' } };
  return [csrObject(request, { username }), { ...node, status: { addresses } }, ...more];
}

async function check(context: TestContext, policy: string, saved: Saved): Promise<string> {
  const directory = await temporaryDirectory(context);
  const list = { apiVersion: 'v1', kind: 'List', items: objectsOf(saved) };
  await writeFile(join(directory, 'cluster.json'), JSON.stringify(list));
  const args = ['approver', 'check', '--policy', join(folder, policy), '-o', 'json', directory];
  const { stdout, stderr } = await runInProcess(createdAt, ...args);
  assert.equal(stderr, '');
  const { csrs } = JSON.parse(stdout) as { csrs: { outcome: string; reason: string }[] };
  return csrs.map(({ outcome, reason }) => `${outcome} ${reason}`).join();
}

const worker = ['worker-1', 'worker-1.nodes.example.com'];
const own = { names: worker, ips: ['10.100.0.21', 'fd00:100::21'] };
const machine = {
  apiVersion: 'cluster.x-k8s.io/v1beta2',
  kind: 'Machine',
  metadata: { name: 'worker-1', namespace: 'default', resourceVersion: '7' },
  spec: { providerID: 'test://worker-1' },
  status: {
    nodeRef: { name: 'worker-1' },
    addresses: [
      { type: 'Hostname', address: 'worker-1' },
      { type: 'InternalIP', address: '10.100.0.21' },
    ],
  },
};
const passed = 'approve ServingPolicyPassed';

const samples: Readonly<Record<string, readonly (readonly [string, Saved, string])[]>> = {
  'policy-kubeadm.yaml': [
    ['the names and addresses of a node', own, passed],
    ['a name outside the domains', { names: ['www.example.com'], ips: [] }, 'deny NameNotAllowed'],
    ['the load balancer', { names: [], ips: ['10.100.0.10'] }, 'deny AddressNotAllowed'],
    ['its name', { names: ['api.example.com'], ips: [] }, 'deny ProtectedName'],
    ['another network', { names: [], ips: ['192.0.2.1'] }, 'deny AddressNotAllowed'],
    ['a Pod', { names: [], ips: ['10.244.1.2'] }, 'deny ProtectedAddress'],
  ],
  'policy-cluster-api.yaml': [
    [
      'what the Machine has',
      { names: ['worker-1'], ips: ['10.100.0.21'], more: [machine] },
      passed,
    ],
    ['what the Machine does not have', { ...own, more: [machine] }, 'hold SourceDisagrees'],
    ['a Node without a Machine', own, 'hold SourceDisagrees'],
  ],
  'policy-inventory.yaml': [
    ['what the inventory has', own, passed],
    ['the address of another node', { names: [], ips: ['10.100.1.33'] }, 'hold SourceDisagrees'],
  ],
};

describe('the sample policies', () => {
  it('are all in this test', async () => {
    const files = (await readdir(folder)).filter((name) => name.startsWith('policy-'));
    assert.deepEqual(files.toSorted(), Object.keys(samples).toSorted());
  });

  for (const [file, cases] of Object.entries(samples)) {
    it(`${file} is valid, with its sources, and changes nothing at first`, async () => {
      const { policy, invalidInventory } = await new PolicyLoader(join(folder, file)).load();
      assert.deepEqual([policy.mode, invalidInventory], ['observe', undefined]);
    });
    for (const [title, saved, expected] of cases) {
      it(`${file}: ${title}: ${expected}`, async (context) => {
        assert.equal(await check(context, file, saved), expected);
      });
    }
  }
});
