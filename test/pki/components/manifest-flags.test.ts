import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { withFlags } from '../../../src/pki/components/manifest-flags.ts';
import { kubeadmPods, pod } from './manifests.ts';

const manager = stringify(kubeadmPods['kube-controller-manager']);
const name = 'kube-controller-manager';
const flags = { 'root-ca-file': '/pki/ca-bundle.crt' };

describe('withFlags()', () => {
  it('changes the value of a flag, and no other byte', () => {
    const edited = withFlags(manager, name, flags);
    const line = '--root-ca-file=/etc/kubernetes/pki/ca.crt';
    assert.equal(edited, manager.replace(line, '--root-ca-file=/pki/ca-bundle.crt'));
  });

  it('changes the last occurrence of a flag, also in args of a sidecar', () => {
    const repeated = stringify(
      pod({
        name: 'x',
        command: ['x', '--root-ca-file=/a'],
        spec: {
          initContainers: [
            { name, image: 'm', command: ['m', '--root-ca-file=/a'], args: ['--root-ca-file=/b'] },
          ],
        },
      }),
    );
    const edited = withFlags(repeated, name, flags);
    assert.equal(edited, repeated.replace('=/b', '=/pki/ca-bundle.crt'));
  });

  const refused = [
    ['a missing flag', manager, name, { 'no-such-flag': '/x' }],
    ['another container', manager, 'other', flags],
    ['a value in the next entry', manager.replace('root-ca-file=', 'root-ca-file '), name, flags],
    ['two documents', `${manager}---\na: 1\n`, name, flags],
    ['no pod', 'a: 1\n', name, flags],
  ] as const;
  for (const [what, text, container, wanted] of refused) {
    it(`refuses ${what}`, () => assert.equal(withFlags(text, container, wanted), undefined));
  }
});
