import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import type { Component } from '../../../src/pki/components/component.ts';
import { parseComponentFlags } from '../../../src/pki/components/component-flags.ts';
import { containerComponents } from '../../../src/pki/components/container-components.ts';
import { fileReferences } from '../../../src/pki/components/file-references.ts';
import { readStaticPods } from '../../../src/pki/components/static-pods.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { kubeadmManifests, manifestDirectory, pod } from './manifests.ts';

/** A component that sees the files of the node. */
function component(name: Component['name'], ...words: readonly string[]): Component {
  return {
    name,
    source: { kind: 'unit', unit: `${name}.service` },
    flags: parseComponentFlags(words),
    sharesNetwork: true,
    hostPath: (path) => resolve('/srv', path),
  };
}

async function referencesOf(...components: readonly Component[]): Promise<string[]> {
  const { references, problems } = await fileReferences(components);
  assert.deepEqual(problems, []);
  return references.map(({ flag, kind, path }) => `${flag}: ${kind} ${path}`);
}

describe('fileReferences()', () => {
  it('finds every file of the static pods of kubeadm', async (context) => {
    const { pods } = await readStaticPods(await manifestDirectory(context, kubeadmManifests()));
    const found = pods.flatMap((pod) => containerComponents(pod).components);
    const { references, problems } = await fileReferences(found);
    assert.deepEqual(problems, []);
    const shown = references.map(({ component: name, kind, path }) => `${name} ${kind} ${path}`);
    const pki = '/etc/kubernetes/pki';
    assert.deepEqual([...new Set(shown)].toSorted(), [
      `etcd authority ${pki}/etcd/ca.crt`,
      `etcd certificate ${pki}/etcd/peer.crt`,
      `etcd certificate ${pki}/etcd/server.crt`,
      `etcd key ${pki}/etcd/peer.key`,
      `etcd key ${pki}/etcd/server.key`,
      `kube-apiserver authority ${pki}/ca.crt`,
      `kube-apiserver authority ${pki}/etcd/ca.crt`,
      `kube-apiserver authority ${pki}/front-proxy-ca.crt`,
      `kube-apiserver certificate ${pki}/apiserver-etcd-client.crt`,
      `kube-apiserver certificate ${pki}/apiserver-kubelet-client.crt`,
      `kube-apiserver certificate ${pki}/apiserver.crt`,
      `kube-apiserver certificate ${pki}/front-proxy-client.crt`,
      `kube-apiserver key ${pki}/apiserver-etcd-client.key`,
      `kube-apiserver key ${pki}/apiserver-kubelet-client.key`,
      `kube-apiserver key ${pki}/apiserver.key`,
      `kube-apiserver key ${pki}/front-proxy-client.key`,
      `kube-controller-manager authority ${pki}/ca.crt`,
      `kube-controller-manager authority ${pki}/front-proxy-ca.crt`,
      `kube-controller-manager key ${pki}/ca.key`,
      'kube-controller-manager kubeconfig /etc/kubernetes/controller-manager.conf',
      'kube-scheduler kubeconfig /etc/kubernetes/scheduler.conf',
    ]);
  });

  for (const [flag, expected] of [
    ['--tls-cert-file=server.crt', 'tls-cert-file: certificate /srv/server.crt'],
    ['--oidc-ca-file=/x.pem', 'oidc-ca-file: authority /x.pem'],
    ['--cluster-signing-kubelet-serving-cert-file=/x', 'authority'],
    ['--cluster-signing-kubelet-serving-key-file=/x', 'key'],
    ['--peer-trusted-ca-file=/x', 'authority'],
    ['--audit-webhook-config-file=/x', 'kubeconfig'],
    ['--cloud-kubeconfig=/x', 'kubeconfig'],
    ['--vendor-ca-bundle=/x', 'authority'],
    ['--vendor-tls-cert=/x', 'certificate'],
    ['--vendor-client-key=/x', 'key'],
  ] as const) {
    it(`lists ${flag}`, async () => {
      const found = await referencesOf(component('kube-scheduler', flag));
      assert.equal(found.length, 1);
      assert.ok(found[0]?.includes(expected));
    });
  }

  for (const flag of [
    '--service-account-key-file=/etc/kubernetes/pki/sa.pub',
    '--service-account-signing-key-file=/etc/kubernetes/pki/sa.key',
    '--token-auth-file=/x.csv',
    '--audit-log-path=/var/log/audit.log',
    '--audit-policy-file=/x.yaml',
    '--authorization-policy-file=/x.jsonl',
    '--peer-crl-file=/x',
    '--client-cert-auth=true',
    '--client-cert-auth',
    '--peer-cert-allowed-cn=etcd',
    '--vendor-key=c2VjcmV0',
    '--tls-cert-file=',
    '--tls-sni-cert-key=/x.crt',
    '--encryption-provider-config=/x',
    '--constructor=/x',
  ]) {
    it(`does not list ${flag}`, async () => {
      assert.deepEqual(await referencesOf(component('etcd', flag)), []);
    });
  }

  it('lists both files of each --tls-sni-cert-key', async () => {
    const sni = ['--tls-sni-cert-key=/a.crt,/a.key:foo,bar', '--tls-sni-cert-key', '/b.crt,/b.key'];
    assert.deepEqual(
      await referencesOf(component('kube-apiserver', '--tls-cert-file=/x', ...sni)),
      [
        'tls-cert-file: certificate /x',
        'tls-sni-cert-key: certificate /a.crt',
        'tls-sni-cert-key: key /a.key',
        'tls-sni-cert-key: certificate /b.crt',
        'tls-sni-cert-key: key /b.key',
      ],
    );
  });

  it('lists the last of several values, and each file once', async () => {
    const words = ['--tls-cert-file=/old', '--tls-cert-file=/x'];
    const found = await referencesOf(component('etcd', ...words), component('etcd', ...words));
    assert.deepEqual(found, ['tls-cert-file: certificate /x']);
  });

  it('lists the certificate of --cert-dir without --tls-cert-file', async () => {
    assert.deepEqual(await referencesOf(component('kube-scheduler', '--cert-dir=/c')), [
      'cert-dir: certificate /c/kube-scheduler.crt',
    ]);
    assert.deepEqual(await referencesOf(component('kube-scheduler')), []);
    const both = component('kube-scheduler', '--cert-dir=/c', '--tls-cert-file=/x');
    assert.deepEqual(await referencesOf(both), ['tls-cert-file: certificate /x']);
  });

  it('reads the paths in configuration files', async (context) => {
    const directory = await temporaryDirectory(context);
    const place = (name: string): string => join(directory, name);
    const tlsConfig = { caBundle: '/e/ca.crt', clientKey: '/e/c.key', clientCert: '/e/c.crt' };
    const files: Readonly<Record<string, object>> = {
      proxy: { kind: 'KubeProxyConfiguration', clientConnection: { kubeconfig: '/proxy.conf' } },
      scheduler: {
        clientConnection: { kubeconfig: '' },
        extenders: [{ tlsConfig: { certFile: '/x.crt', keyFile: '/x.key', caFile: '/x-ca.crt' } }],
      },
      egress: {
        egressSelections: [
          { name: 'cluster', connection: { transport: { tcp: { url: 'https://a', tlsConfig } } } },
        ],
      },
      authorization: {
        authorizers: [
          {
            webhook: { connectionInfo: { type: 'KubeConfigFile', kubeConfigFile: '/authz.conf' } },
          },
        ],
      },
      admission: {
        plugins: [
          { name: 'ImagePolicyWebhook', path: 'plugins/image.yaml' },
          { name: 'ValidatingAdmissionWebhook', configuration: { kubeConfigFile: '/hook.conf' } },
          { name: 'EventRateLimit', path: null },
        ],
      },
      'plugins/image.yaml': { imagePolicy: { kubeConfigFile: '/image.conf' } },
    };
    await mkdir(place('plugins'));
    for (const [name, content] of Object.entries(files)) {
      await writeFile(place(name), stringify(content));
    }
    assert.deepEqual(await referencesOf(component('kube-proxy', `--config=${place('proxy')}`)), [
      'config: kubeconfig /proxy.conf',
    ]);
    assert.deepEqual(
      await referencesOf(component('kube-scheduler', `--config=${place('scheduler')}`)),
      ['config: certificate /x.crt', 'config: key /x.key', 'config: authority /x-ca.crt'],
    );
    const apiServer = component(
      'kube-apiserver',
      '--tls-cert-file=/s.crt',
      `--egress-selector-config-file=${place('egress')}`,
      `--authorization-config=${place('authorization')}`,
      `--admission-control-config-file=${place('admission')}`,
    );
    assert.deepEqual(await referencesOf(apiServer), [
      'tls-cert-file: certificate /s.crt',
      'egress-selector-config-file: authority /e/ca.crt',
      'egress-selector-config-file: key /e/c.key',
      'egress-selector-config-file: certificate /e/c.crt',
      'authorization-config: kubeconfig /authz.conf',
      'admission-control-config-file: kubeconfig /hook.conf',
      'admission-control-config-file: kubeconfig /image.conf',
    ]);
  });

  it('reports configuration files that cannot be read, without their text', async (context) => {
    const directory = await temporaryDirectory(context);
    const bad = join(directory, 'bad');
    await writeFile(bad, '{token: c2VjcmV0, [');
    const { references, problems } = await fileReferences([
      component('kube-proxy', `--config=${bad}`, '--kubeconfig=/k'),
      component('kube-scheduler', `--config=${join(directory, 'none')}`),
    ]);
    assert.deepEqual(
      references.map(({ path }) => path),
      ['/k'],
    );
    assert.deepEqual(
      problems.map(({ path }) => path),
      [bad, join(directory, 'none')],
    );
    assert.match(problems[0]?.reason ?? '', /^--config of kube-proxy is not valid YAML: line 1/);
    assert.doesNotMatch(JSON.stringify(problems), /c2Vjcm/);
  });

  it('shows a long path, and redacts what may be a key', async () => {
    const words = [
      '--kubeconfig=/var/lib/rancher/rke2/server/cred/scheduler/$(A)',
      '--tls-cert-file=$(A)MIIEvQIBADANBgkqhkiG9w0BAQ',
    ];
    const { problems } = await fileReferences([component('kube-scheduler', ...words)]);
    assert.deepEqual(
      problems.map(({ path }) => path),
      ['/var/lib/rancher/rke2/server/cred/scheduler/$(A)', '$(A)…'],
    );
  });

  it('reports what is not a path', async () => {
    const words = ['--kubeconfig=/a\0b', `--tls-cert-file=/${'x'.repeat(4096)}`];
    const { references, problems } = await fileReferences([component('kube-scheduler', ...words)]);
    assert.deepEqual(references, []);
    assert.deepEqual(
      problems.map(({ reason }) => reason),
      ['kubeconfig', 'tls-cert-file'].map((flag) => `--${flag} of kube-scheduler is not a path`),
    );
  });

  it('names a path outside the hostPath volumes, and reports a variable', async (context) => {
    const command = ['kube-scheduler', '--tls-cert-file=/image/x.crt', '--kubeconfig=/$(NAME)'];
    const directory = await manifestDirectory(context, { a: pod({ name: 'a', command }) });
    const { pods } = await readStaticPods(directory);
    const found = pods.flatMap((pod) => containerComponents(pod).components);
    const { references, problems, ignored } = await fileReferences(found);
    assert.deepEqual(references, []);
    assert.deepEqual(
      [...ignored, ...problems].map(({ path }) => path),
      ['/image/x.crt', '/$(NAME)'],
    );
    assert.match(ignored[0]?.reason ?? '', /is not on the node/);
    assert.match(problems[0]?.reason ?? '', /contains \$\(NAME\)/);
  });
});
