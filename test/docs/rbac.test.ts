import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';

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

describe('approver/rbac.yaml', () => {
  it('grants what docs and tests name, and nothing else', async () => {
    const text = await readFile(
      new URL('../../config/approver/rbac.yaml', import.meta.url),
      'utf8',
    );
    const rules = parseAllDocuments(text)
      .map((document) => document.toJS() as { readonly rules?: readonly Rule[] })
      .flatMap(({ rules: found = [] }) => found);
    assert.deepEqual(rules.map(ruleText), [
      'certificates.k8s.io/certificatesigningrequests: get, list, watch',
      'certificates.k8s.io/certificatesigningrequests/approval: update',
      '/nodes: get, list, watch',
      'networking.k8s.io/servicecidrs: list, watch',
      '/services kubernetes: get',
      'discovery.k8s.io/endpointslices: list, watch',
      'events.k8s.io/events: create, patch',
      'coordination.k8s.io/leases: create',
      'coordination.k8s.io/leases nodecertd-approver: get, update',
    ]);
  });
});

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

function ruleText({ apiGroups, resources, resourceNames = [], verbs }: Rule): string {
  const names = resourceNames.map((name) => ` ${name}`).join('');
  return `${apiGroups.join()}/${resources.join()}${names}: ${verbs.join(', ')}`;
}
