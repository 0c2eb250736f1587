import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodePath } from '../../../src/pki/components/pod-paths.ts';

const mount = (name: string, mountPath: string, more = {}) => ({
  name,
  mountPath,
  subPath: '',
  subPathExpr: '',
  ...more,
});

const container = {
  workingDir: '/srv',
  volumeMounts: [
    mount('pki', '/etc/kubernetes/pki'),
    mount('etcd', '/etc/kubernetes/pki/etcd/'),
    mount('conf', '/etc/kubernetes/scheduler.conf'),
    mount('sub', '/sub', { subPath: 'a/b' }),
    mount('expression', '/expression', { subPathExpr: '$(POD_NAME)' }),
    mount('secret', '/secret'),
    mount('unknown', '/unknown'),
    mount('relative', '/relative'),
    mount('damaged', '/damaged'),
  ],
};

const volumes = [
  { name: 'pki', hostPath: { path: '/srv/pki' } },
  { name: 'etcd', hostPath: { path: '/var/etcd/pki/' } },
  { name: 'conf', hostPath: { path: '/srv/my.conf' } },
  { name: 'sub', hostPath: { path: '/data' } },
  { name: 'expression', hostPath: { path: '/data' } },
  { name: 'secret' },
  { name: 'relative', hostPath: { path: 'data' } },
  { name: 'damaged', hostPath: { path: '/da\0ta' } },
];

describe('nodePath()', () => {
  for (const [path, expected] of [
    ['/etc/kubernetes/pki/ca.crt', '/srv/pki/ca.crt'],
    ['/etc/kubernetes/pki/../pki//ca.crt', '/srv/pki/ca.crt'],
    ['/etc/kubernetes/pki/etcd/ca.crt', '/var/etcd/pki/ca.crt'],
    ['/etc/kubernetes/pki', '/srv/pki'],
    ['/etc/kubernetes/pki-old/ca.crt', undefined],
    ['/etc/kubernetes/scheduler.conf', '/srv/my.conf'],
    ['/sub/x.crt', '/data/a/b/x.crt'],
    ['../sub/x.crt', '/data/a/b/x.crt'],
    ['x.crt', undefined],
    ['/expression/x.crt', undefined],
    ['/secret/tls.crt', undefined],
    ['/unknown/x.crt', undefined],
    ['/relative/x.crt', undefined],
    ['/damaged/x.crt', undefined],
  ] as const) {
    it(`maps ${path} to ${expected ?? 'nothing'}`, () => {
      assert.equal(nodePath(container, volumes, path), expected);
    });
  }

  it('maps every path of a container that mounts the root of the node', () => {
    const root = { workingDir: '', volumeMounts: [mount('root', '/')] };
    const path = nodePath(root, [{ name: 'root', hostPath: { path: '/' } }], '/etc/x.crt');
    assert.equal(path, '/etc/x.crt');
  });
});
