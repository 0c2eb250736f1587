import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containerCommand, processCommand } from '../../../src/pki/components/component.ts';

describe('processCommand()', () => {
  for (const [command, name, words] of [
    [['kube-apiserver', '--v=2'], 'kube-apiserver', ['--v=2']],
    [['/usr/local/bin/etcd', '--name', 'a'], 'etcd', ['--name', 'a']],
    [['/hyperkube', 'kube-scheduler', '--v=2'], 'kube-scheduler', ['--v=2']],
    [['hyperkube', 'controller-manager'], 'kube-controller-manager', []],
    [['/proxy-server', '--mode=grpc'], 'konnectivity-server', ['--mode=grpc']],
    [['/bin/aws-cloud-controller-manager'], 'cloud-controller-manager', []],
    [['vim', '/etc/default/etcd'], undefined],
    [['etcdctl', 'get'], undefined],
    [['constructor'], undefined],
    [['hyperkube'], undefined],
    [[], undefined],
  ] as const) {
    it(`finds ${name ?? 'no component'} in ${JSON.stringify(command)}`, () => {
      assert.deepEqual(processCommand(command), name && { name, words });
    });
  }
});

describe('containerCommand()', () => {
  for (const [command, name, words] of [
    [['kube-proxy', '--config=/c'], 'kube-proxy', ['--config=/c']],
    [['tini', '--', '/etcd', '--name=a'], 'etcd', ['--name=a']],
    [
      ['/go-runner', '--log-file=/x', '--redirect-stderr', '/bin/kube-apiserver', '--v=2'],
      'kube-apiserver',
      ['--v=2'],
    ],
    [['env', 'A=/x/etcd', '/hyperkube', 'apiserver', '--v=2'], 'kube-apiserver', ['--v=2']],
    [['backup', '--data-dir', '/var/lib/etcd'], undefined],
    [['--data-dir=/var/lib/etcd'], undefined],
    [['kine', '--name', 'etcd'], undefined],
    [['/bin/sh', '-c', 'exec etcd --name=a'], undefined],
    [[], undefined],
  ] as const) {
    it(`finds ${name ?? 'no component'} in ${JSON.stringify(command)}`, () => {
      assert.deepEqual(containerCommand(command), name && { name, words });
    });
  }
});
