import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MountTable } from '../../../src/pki/components/mount-table.ts';

const node = new MountTable(`22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 8:2 / /var/lib rw - ext4 /dev/sda2 rw
24 22 0:50 / /run/containerd/io/a/rootfs rw - overlay overlay rw
25 22 8:3 / /srv rw - ext4 /dev/sdb rw
26 25 8:1 /etc /srv/covered rw - ext4 /dev/sda1 rw
27 22 8:3 / /srv rw - ext4 /dev/sdb rw
28 22 8:4 /pki /etc/blank\\040name rw - ext4 /dev/sdc rw
`);

const container = new MountTable(`100 99 0:50 / / rw - overlay overlay rw
101 100 8:1 /etc/kubernetes/pki /etc/kubernetes/pki ro,relatime - ext4 /dev/sda1 rw
102 101 8:2 /etcd-pki /etc/kubernetes/pki/etcd ro - ext4 /dev/sda2 rw
103 100 8:1 /etc/kubernetes/scheduler.conf /conf ro - ext4 /dev/sda1 rw
104 100 0:60 / /var/run/secrets rw - tmpfs tmpfs rw
105 100 8:1 /srv/hidden /hidden rw - ext4 /dev/sda1 rw
106 100 8:4 /pki/a /blank rw - ext4 /dev/sdc rw
malformed
`);

describe('MountTable', () => {
  for (const [path, expected] of [
    ['/etc/kubernetes/pki/ca.crt', '/etc/kubernetes/pki/ca.crt'],
    ['/etc/kubernetes/pki/etcd/ca.crt', '/var/lib/etcd-pki/ca.crt'],
    ['/conf', '/etc/kubernetes/scheduler.conf'],
    ['/etc/ssl/x.crt', '/run/containerd/io/a/rootfs/etc/ssl/x.crt'],
    ['/var/run/secrets/ca.crt', undefined],
    ['/hidden/x.crt', undefined],
    ['/blank/x.crt', '/etc/blank name/a/x.crt'],
  ] as const) {
    it(`finds ${path} of a container at ${expected ?? 'no path'}`, () => {
      assert.equal(node.pathOf(path, container), expected);
    });
  }

  it('finds nothing in an unreadable table', () => {
    assert.equal(node.pathOf('/x', new MountTable('')), undefined);
    assert.equal(new MountTable('').pathOf('/x', node), undefined);
  });
});
