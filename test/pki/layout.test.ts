import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  authorityFile,
  authorityNames,
  defaultDirectories,
  fileOf,
  keyFileOf,
  kubeadmCertificates,
} from '../../src/pki/layout.ts';

describe('kubeadmCertificates', () => {
  it('is sorted by name, as in kubeadm certs check-expiration', () => {
    const names = kubeadmCertificates.map(({ name }) => name);
    assert.deepEqual(names, names.toSorted());
  });
});

describe('fileOf()', () => {
  const rows = [
    ['apiserver', '/etc/kubernetes/pki/apiserver.crt'],
    ['etcd-peer', '/etc/kubernetes/pki/etcd/peer.crt'],
    ['apiserver-etcd-client', '/etc/kubernetes/pki/apiserver-etcd-client.crt'],
    ['admin.conf', '/etc/kubernetes/admin.conf'],
  ] as const;
  for (const [name, path] of rows) {
    it(`is ${path} for ${name}`, () => {
      const certificate = kubeadmCertificates.find((known) => known.name === name);
      assert.equal(certificate && fileOf(certificate, defaultDirectories), path);
    });
  }
});

describe('authorityFile()', () => {
  it('finds the three CAs', () => {
    assert.deepEqual(
      authorityNames.map((name) => authorityFile(name, defaultDirectories)),
      [
        '/etc/kubernetes/pki/ca.crt',
        '/etc/kubernetes/pki/etcd/ca.crt',
        '/etc/kubernetes/pki/front-proxy-ca.crt',
      ],
    );
  });
});

describe('keyFileOf()', () => {
  it('replaces the extension', () => {
    assert.equal(keyFileOf('/pki/etcd/server.crt'), '/pki/etcd/server.key');
    assert.equal(keyFileOf('/a.b/server-cert.pem'), '/a.b/server-cert.key');
  });
});
