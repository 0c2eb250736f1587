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
