import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { ruleText } from '../support/rbac-grants.ts';
import type { Rule } from '../support/rbac-grants.ts';

interface Binding {
  readonly kind: string;
  readonly roleRef: { readonly name: string };
  readonly subjects: readonly { readonly name: string }[];
}

describe('rbac.yaml', () => {
  it('binds the roles of bootstrap and renewal, each with an explanation', async () => {
    const text = await readFile(new URL('../../config/rbac.yaml', import.meta.url), 'utf8');
    const bindings = parseAllDocuments(text)
      .map((document) => document.toJS() as Binding | null)
      .filter((binding) => binding !== null);
    const csr = 'system:certificates.k8s.io:certificatesigningrequests';
    assert.deepEqual(
      bindings.map(({ roleRef, subjects }) => [roleRef.name, subjects.map(({ name }) => name)]),
      [
        ['system:node-bootstrapper', ['system:bootstrappers']],
        [`${csr}:nodeclient`, ['system:bootstrappers']],
        [`${csr}:selfnodeclient`, ['system:nodes']],
      ],
    );
    assert.equal(text.match(/^---\n#/gm)?.length, 3);
    assert.ok(bindings.every(({ kind }) => kind === 'ClusterRoleBinding'));
  });
});

describe('rbac-ca-rollover.yaml', () => {
  it('grants what the gates read, and nothing else', async () => {
    assert.deepEqual(await rulesOf('rbac-ca-rollover.yaml'), [
      '/nodes: list',
      '/namespaces: list',
      '/configmaps kube-root-ca.crt: list',
      '/configmaps cluster-info: get',
      '/configmaps extension-apiserver-authentication: get',
      'certificates.k8s.io/clustertrustbundles: list',
      '/pods: list',
      'certificates.k8s.io/certificatesigningrequests: list',
      'admissionregistration.k8s.io/validatingwebhookconfigurations,mutatingwebhookconfigurations: list',
      'apiregistration.k8s.io/apiservices: list',
      'apiextensions.k8s.io/customresourcedefinitions: list',
      'discovery.k8s.io/endpointslices kubernetes: get',
      '/secrets: list',
    ]);
  });
});

describe('approver/rbac.yaml', () => {
  it('grants what docs and tests name, and nothing else', async () => {
    assert.deepEqual(await rulesOf('approver/rbac.yaml'), [
      'certificates.k8s.io/certificatesigningrequests: get, list, watch',
      'certificates.k8s.io/certificatesigningrequests/approval: update',
      '/nodes: get, list, watch',
      'networking.k8s.io/servicecidrs: list, watch',
      '/services kubernetes: get',
      'discovery.k8s.io/endpointslices: list, watch',
      'events.k8s.io/events: create',
      'coordination.k8s.io/leases: create',
      'coordination.k8s.io/leases nodecertd-approver: get, update',
    ]);
  });
});

describe('approver/rbac-machines.yaml', () => {
  it('grants to read Machines, and nothing else', async () => {
    assert.deepEqual(await rulesOf('approver/rbac-machines.yaml'), [
      'cluster.x-k8s.io/machines: list, watch',
    ]);
  });
});

async function rulesOf(file: string): Promise<string[]> {
  const url = new URL(`../../config/${file}`, import.meta.url);
  return parseAllDocuments(await readFile(url, 'utf8'))
    .map((document) => document.toJS() as { readonly rules?: readonly Rule[] })
    .flatMap(({ rules = [] }) => rules.map(ruleText));
}
