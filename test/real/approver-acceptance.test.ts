import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { NodeSnapshot } from '../../src/approver/node-snapshot.ts';
import type { ServingCsr } from '../../src/approver/serving-csr.ts';
import type { ApproverPolicy } from '../../src/core/approver-policy.ts';
import { formatCidr } from '../../src/core/cidr.ts';
import type { Case } from '../approver/acceptance-cases.ts';
import { acceptanceCases } from '../approver/acceptance-cases.ts';
import type { Asked } from '../approver/cluster.ts';
import { afterGrace, early, node, servingCsr } from '../approver/cluster.ts';
import type { ApiClient } from '../support/api-client.ts';
import type { Replica } from '../support/approver-plane.ts';
import { ApproverPlane } from '../support/approver-plane.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { csrPath } from '../support/real-csr.ts';

/** Of a Node, what a change of an existing one can set, so that it is never created again. */
const settable: ReadonlySet<string> = new Set([
  'addresses',
  'isControlPlane',
  'isUninitialized',
] satisfies (keyof NodeSnapshot)[]);

/** Whether the real API server can have these objects, at this time. */
function isReal({ csr = servingCsr(), situation = {}, policy = {}, now = early }: Asked): boolean {
  const { nodes = [node()], ...rest } = situation;
  const [own, ...others] = nodes;
  return (
    Object.keys(rest).length === 0 &&
    (now === early || now === afterGrace) &&
    policy.mode === undefined &&
    csr.signerName === 'kubernetes.io/kubelet-serving' &&
    csr.conditionTypes.length === 0 &&
    !csr.hasCertificate &&
    !csr.isDeleting &&
    own !== undefined &&
    Object.entries(own).every(
      ([key, value]) =>
        settable.has(key) || JSON.stringify(value) === JSON.stringify(standard(key)),
    ) &&
    others.every(({ addresses, isTerminating }) => !isTerminating && addresses.length === 0)
  );
}

function standard(key: string): unknown {
  return Object.entries(node()).find(([one]) => one === key)?.[1];
}

describe(
  'the acceptance cases on a real API server',
  { skip: skipWithoutRealControlPlane() },
  () => {
    let cluster: ApproverPlane;
    let approver: Replica;
    let requestors: ApiClient;
    let policy: Partial<ApproverPolicy> = {};
    let csrs = 0;

    before(async () => {
      // The API server compares the subject with the node otherwise.
      const gate = '--feature-gates=AllowInsecureKubeletCertificateSigningRequests=true';
      cluster = await ApproverPlane.start({ apiServerFlags: [gate] });
      requestors = cluster.plane.clientAs('requestor', []);
      await allowEveryone();
      await create('/apis/networking.k8s.io/v1/servicecidrs', {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'ServiceCIDR',
        metadata: { name: 'acceptance' },
        spec: { cidrs: ['10.96.0.0/16', 'fd00:1::/108'] },
      });
      await create('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'kubernetes', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
        addressType: 'IPv4',
        endpoints: [{ addresses: ['10.100.0.1'] }],
        ports: [],
      });
      await setNode(node());
      approver = cluster.startApprover({ policy: () => policy });
      await cluster.until('a leader', () => approver.logged('approver_leading').length === 1);
    });
    after(async () => {
      await approver?.[Symbol.asyncDispose]();
      await requestors?.[Symbol.asyncDispose]();
      await cluster?.[Symbol.asyncDispose]();
    });

    async function create(path: string, body: object): Promise<void> {
      await cluster.plane.admin.must({ method: 'POST', path, body });
    }

    /** So that the API server accepts CSRs of users that are not nodes. */
    async function allowEveryone(): Promise<void> {
      const resource = '--resource=certificatesigningrequests.certificates.k8s.io';
      await cluster.plane.kubectl('create', 'clusterrole', 'requestor', '--verb=create', resource);
      const group = '--group=system:authenticated';
      const role = '--clusterrole=requestor';
      await cluster.plane.kubectl('create', 'clusterrolebinding', 'requestor', role, group);
    }

    async function setNode(wanted: NodeSnapshot): Promise<void> {
      const { name, addresses, isControlPlane, isUninitialized, podCidrs } = wanted;
      const [podCIDR] = podCidrs;
      const key = 'node.cloudprovider.kubernetes.io/uninitialized';
      await cluster.setNode(name, addresses);
      await cluster.patchNode(name, {
        metadata: {
          labels: { 'node-role.kubernetes.io/control-plane': isControlPlane ? '' : null },
        },
        spec: {
          taints: isUninitialized ? [{ key, effect: 'NoSchedule' }] : null,
          ...(podCIDR !== undefined && { podCIDR, podCIDRs: podCidrs }),
        },
      });
    }

    /** Creates the CSR as its user. Undefined if the API server refuses it. */
    async function createCsr(csr: ServingCsr): Promise<string | undefined> {
      csrs += 1;
      const name = `case-${csrs}`;
      const { signerName, usages, expirationSeconds, username: user, groups } = csr;
      const request = Buffer.from(csr.request).toString('base64');
      const { status, body } = await requestors.request({
        method: 'POST',
        path: csrPath(),
        body: {
          apiVersion: 'certificates.k8s.io/v1',
          kind: 'CertificateSigningRequest',
          metadata: { name },
          spec: { request, signerName, usages, expirationSeconds },
        },
        impersonate: { user, groups },
      });
      if (status === 201) return name;
      assert.equal(status, 422, JSON.stringify(body));
      return undefined;
    }

    /** The last outcome and code in the log of the approver. */
    function outcomeOf(name: string): string | undefined {
      const line = approver.lines.findLast(
        ({ csr, event }) => csr === name && /^csr_(?:decided|held|ignored)$/.test(String(event)),
      );
      const outcomes = { csr_held: 'hold', csr_ignored: 'ignore', csr_decided: line?.['outcome'] };
      const outcome = outcomes[line?.['event'] as keyof typeof outcomes];
      return line && `${String(outcome)} ${String(line['reason'])}`;
    }

    async function decide(name: string, expected: string): Promise<void> {
      await cluster.until(expected, async () => {
        if (outcomeOf(name) === expected) return true;
        // The watch of the Nodes may be later than that of the CSRs.
        await approver.approver.reload();
        return false;
      });
      assert.equal((await cluster.explain(name, keysOf(policy))).decision, expected);
      policy = { ...policy, mode: 'enforce' };
      await approver.approver.reload();
      const [outcome = '', code = ''] = expected.split(' ');
      if (outcome === 'approve') assert.equal(await cluster.decided(name), `Approved ${code}`);
      else if (outcome === 'deny') assert.equal(await cluster.decided(name), `Denied ${code}`);
      else assert.deepEqual(await cluster.conditions(name), []);
    }

    it('31. 599 seconds: refused by the API server', async () => {
      const short = servingCsr({}, { expirationSeconds: 599 });
      assert.equal(await createCsr(short), undefined);
    });

    for (const { title, cases } of acceptanceCases) {
      describe(title, () => {
        for (const one of cases.filter(([, , asked]) => isReal(asked))) check(one);
      });
    }

    function check([title, expected, asked]: Case): void {
      const { csr = servingCsr(), situation: { nodes = [node()] } = {} } = asked;
      it(`${title}: ${expected}`, async (context) => {
        policy = {
          ...asked.policy,
          mode: 'observe',
          mismatchGrace: asked.now === afterGrace ? 0 : 3_600_000,
        };
        await approver.approver.reload();
        for (const wanted of nodes) await setNode(wanted);
        const name = await createCsr(csr);
        if (name === undefined) {
          assert.doesNotMatch(expected, /^approve/);
          context.diagnostic('refused by the API server');
        } else {
          await decide(name, expected);
          await cluster.plane.deleteCsr(name);
        }
        for (const { name: other } of nodes.slice(1)) {
          await cluster.plane.admin.must({ method: 'DELETE', path: `/api/v1/nodes/${other}` });
        }
        if (asked.situation !== undefined) await setNode(node());
      });
    }
  },
);

/** The keys of the policy file that the cases set. */
function keysOf(policy: Partial<ApproverPolicy>): object {
  const { allowedCidrs, deniedCidrs, serviceCidrs, podCidrs, mismatchGrace = 0 } = policy;
  const { mode, allowedDomains, protectedNames, match, foreignRequestors, allowLinkLocal } = policy;
  return {
    mode,
    mismatchGrace: `${mismatchGrace / 1_000}s`,
    allowedCIDRs: allowedCidrs?.map(formatCidr),
    deniedCIDRs: deniedCidrs?.map(formatCidr),
    serviceCIDRs: serviceCidrs?.map(formatCidr),
    podCIDRs: podCidrs?.map(formatCidr),
    allowedDomains,
    protectedNames,
    match,
    foreignRequestors,
    allowLinkLocal,
  };
}
