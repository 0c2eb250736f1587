import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { Component } from '../../../src/pki/components/component.ts';
import { flagValue } from '../../../src/pki/components/component-flags.ts';
import type { FoundComponents } from '../../../src/pki/components/find-components.ts';
import { findComponents } from '../../../src/pki/components/find-components.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { FakeProcess } from '../../sys/fake-proc.ts';
import { fakeProc } from '../../sys/fake-proc.ts';
import { fakeSystemctl, shownUnit } from '../../sys/fake-systemctl.ts';
import { kubeadmManifests, manifestDirectory, pod } from './manifests.ts';

const self = { cmdline: 'node\0', mounts: 'mnt:[1]', parent: 1, cgroup: '' };

interface Machine {
  readonly manifests?: Readonly<Record<string, object | string>>;
  readonly processes?: Readonly<Record<string, FakeProcess>>;
  /** The output of systemctl for one of the services; the others do not exist. */
  readonly service?: string;
}

async function find(
  context: TestContext,
  { manifests = {}, processes = {}, service = '' }: Machine,
): Promise<FoundComponents> {
  const proc = await temporaryDirectory(context);
  await fakeProc(proc, { self, ...processes });
  const staticPodPath = await manifestDirectory(context, manifests);
  const missing = Array.from({ length: 8 }, () => 'LoadState=not-found\n');
  const blocks = service === '' ? missing : [missing[0], service, ...missing];
  const systemctl = await fakeSystemctl(context, blocks.join('\n'));
  return findComponents({ staticPodPath, proc, systemctl });
}

function summary({ name, source }: Component): string {
  const { kind } = source;
  switch (kind) {
    case 'static-pod':
      return `${name} in a static pod`;
    case 'unit':
      return `${name} in ${source.unit}`;
    case 'process':
      return `${name} in process ${source.pid}`;
    default:
      return kind satisfies never;
  }
}

const podCgroup = `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${'0a'.repeat(16)}.slice/cri-containerd-1.scope\n`;

describe('findComponents()', () => {
  it('finds the static pods of kubeadm and their files on the node', async (context) => {
    const { components, problems, ignored } = await find(context, {
      manifests: kubeadmManifests(),
    });
    assert.deepEqual([problems, ignored], [[], []]);
    assert.deepEqual(components.map(summary), [
      'etcd in a static pod',
      'kube-apiserver in a static pod',
      'kube-controller-manager in a static pod',
      'kube-scheduler in a static pod',
    ]);
    const [etcd] = components;
    const file = etcd && flagValue(etcd.flags, 'peer-cert-file');
    assert.equal(file, '/etc/kubernetes/pki/etcd/peer.crt');
    assert.equal(etcd?.hostPath(file), file);
  });

  it('counts a static pod and its process once', async (context) => {
    const process = { ...self, mounts: 'mnt:[2]', cgroup: podCgroup };
    const { components } = await find(context, {
      manifests: kubeadmManifests(),
      processes: {
        20: { ...process, cmdline: 'kube-apiserver\0--v=2\0' },
        21: { ...process, cmdline: 'etcd\0--name=cp1\0' },
      },
    });
    assert.equal(components.length, 4);
  });

  it('joins command and args, and expands variables', async (context) => {
    const manifest = pod({
      name: 'etcd',
      command: ['/usr/local/bin/etcd'],
      container: {
        args: ['--data-dir', '/var/lib/etcd', '--cert-file', '$(DIR)/server.crt'],
        env: [
          { name: 'ROOT', value: '/pki' },
          { name: 'DIR', value: '$(ROOT)/etcd' },
          { name: 'ETCD_KEY_FILE', value: '$(DIR)/server.key' },
        ],
      },
    });
    const { components } = await find(context, { manifests: { 'etcd.yaml': manifest } });
    assert.deepEqual(components[0]?.flags, [
      { name: 'data-dir', value: '/var/lib/etcd' },
      { name: 'cert-file', value: '/pki/etcd/server.crt' },
      { name: 'key-file', value: '/pki/etcd/server.key' },
    ]);
  });

  it('takes the program from the image if the container has only args', async (context) => {
    const image = '10.0.0.1:5000/x/kube-scheduler:v1.37.2@sha256:00';
    const manifest = pod({ name: 'a', command: [], container: { args: ['--v=2'], image } });
    const { components } = await find(context, { manifests: { a: manifest } });
    assert.deepEqual(components.map(summary), ['kube-scheduler in a static pod']);
    assert.deepEqual(components[0]?.flags, [{ name: 'v', value: '2' }]);
  });

  it('reads variables that only the container has from its process', async (context) => {
    const command = ['kube-scheduler', '--bind-address=$(HOST_IP)'];
    const env = [{ name: 'HOST_IP', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } }];
    const { components } = await find(context, {
      manifests: { a: pod({ name: 'a', command, container: { env } }) },
      processes: {
        20: { ...self, cmdline: 'kube-scheduler\0--bind-address=10.0.0.5\0', cgroup: podCgroup },
      },
    });
    assert.deepEqual(components.map(summary), ['kube-scheduler in a static pod']);
    assert.deepEqual(components[0]?.flags, [{ name: 'bind-address', value: '10.0.0.5' }]);
  });

  it('names a program in a shell, unless its process shows the flags', async (context) => {
    const script = 'exec /usr/local/bin/kube-scheduler --v=2 >>/var/log/x 2>&1';
    const manifests = { a: pod({ name: 'a', command: ['/bin/sh', '-c', script] }) };
    const { components, problems } = await find(context, { manifests });
    assert.deepEqual(components, []);
    assert.match(problems[0]?.reason ?? '', /starts kube-scheduler in a shell/);
    const process = { ...self, cmdline: 'kube-scheduler\0--v=2\0', cgroup: podCgroup };
    const running = await find(context, { manifests, processes: { 20: process } });
    assert.deepEqual(running.problems, []);
    assert.deepEqual(running.components.map(summary), ['kube-scheduler in process 20']);
  });

  it('finds processes of services, of a login and of containers', async (context) => {
    const { components } = await find(context, {
      processes: {
        10: {
          ...self,
          cmdline: '/usr/bin/etcd\0--name=a\0',
          cgroup: '0::/system.slice/etcd.service\n',
          environ: 'ETCD_CERT_FILE=/etc/etcd/server.crt\0A\0',
        },
        11: { ...self, cmdline: 'kube-apiserver\0', cgroup: '0::/user.slice/user@0.service/x\n' },
        12: { ...self, cmdline: 'kube-scheduler\0', mounts: 'mnt:[2]', cgroup: '0::/docker/1\n' },
        13: { ...self, cmdline: 'kube-apiserver\0', network: 'net:[2]', mounts: 'mnt:[3]' },
        14: { ...self, cmdline: 'vim\0/etc/default/etcd\0' },
      },
    });
    assert.deepEqual(components.map(summary), [
      'etcd in etcd.service',
      'kube-apiserver in process 11',
      'kube-scheduler in process 12',
    ]);
    assert.equal(flagValue(components[0]?.flags ?? [], 'cert-file'), '/etc/etcd/server.crt');
  });

  it('finds a process of this machine, with its environment', async (context) => {
    const directory = await temporaryDirectory(context);
    const script = join(directory, 'wait.cjs');
    await writeFile(script, 'process.stdout.write("up"); setInterval(() => {}, 1e6)');
    const child = spawn(process.execPath, [script, '--key-file', 'server.key'], {
      argv0: '/usr/local/bin/etcd',
      cwd: directory,
      env: { ETCD_CERT_FILE: '/server.crt' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    context.after(async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    await once(child.stdout, 'data');
    const staticPodPath = join(directory, 'none');
    const { components } = await findComponents({ staticPodPath, systemctl: '/none' });
    // Tests that run at the same time may have processes with the same name.
    const etcd = components.find(({ flags }) => flagValue(flags, 'key-file') === 'server.key');
    assert.equal(etcd?.name, 'etcd');
    assert.equal(flagValue(etcd.flags, 'cert-file'), '/server.crt');
    assert.equal(etcd.hostPath('server.key'), join(await realpath(directory), 'server.key'));
  });

  it('maps the paths of a container by its mounts, or below /proc', async (context) => {
    const proc = await temporaryDirectory(context);
    await fakeProc(proc, {
      self: { ...self, mountinfo: '22 1 8:1 / / rw - ext4 /dev/sda1 rw\n' },
      12: {
        ...self,
        cmdline: 'etcd\0',
        mounts: 'mnt:[2]',
        mountinfo:
          '30 1 0:9 / / rw - overlay overlay rw\n31 30 8:1 /etc/ssl/etcd /certs ro - ext4 /dev/sda1 rw\n',
      },
    });
    const staticPodPath = join(proc, 'none');
    const { components } = await findComponents({ staticPodPath, proc, systemctl: '/none' });
    const [etcd] = components;
    assert.equal(etcd?.hostPath('/certs/server.crt'), '/etc/ssl/etcd/server.crt');
    assert.equal(etcd?.hostPath('/other.crt'), join(proc, '12/root/other.crt'));
  });

  it('reads a service that does not run, with its environment files', async (context) => {
    const file = join(await temporaryDirectory(context), 'etcd.env');
    await writeFile(file, 'ETCD_PEER_CERT_FILE=pki/peer.crt\nETCD_NAME="a"\n');
    const service = `${shownUnit({ exec: '/usr/bin/etcd --cert-file=/x.crt', environmentFiles: [file] })}WorkingDirectory=/var/lib/etcd\n`;
    const { components, problems } = await find(context, { service });
    assert.deepEqual(problems, []);
    assert.deepEqual(components.map(summary), ['etcd in etcd.service']);
    const [etcd] = components;
    assert.equal(flagValue(etcd?.flags ?? [], 'peer-cert-file'), 'pki/peer.crt');
    assert.equal(etcd?.hostPath('pki/peer.crt'), '/var/lib/etcd/pki/peer.crt');
  });

  it('notes why the flags of a stopped service are unknown', async (context) => {
    const { components, problems, ignored } = await find(context, {
      service: shownUnit({ exec: '/bin/bash -c etcd' }),
    });
    assert.deepEqual([components, problems], [[], []]);
    const reason = 'does not run, and its flags are unknown: it starts /bin/bash instead of etcd';
    assert.deepEqual(ignored, [{ path: 'etcd.service', reason }]);
  });

  it('notes a failure of systemctl once', async (context) => {
    const staticPodPath = await manifestDirectory(context, {});
    const systemctl = '/nonexistent/systemctl';
    const { ignored } = await findComponents({ staticPodPath, systemctl });
    assert.equal(ignored.length, 1);
    assert.match(ignored[0]?.reason ?? '', /: systemctl failed: systemctl is not installed$/);
  });

  it('reads the configuration file of etcd in the place of its flags', async (context) => {
    const file = join(await temporaryDirectory(context), 'etcd.yaml');
    await writeFile(
      file,
      `listen-client-urls: https://127.0.0.1:2379
client-transport-security: {cert-file: /c.crt, client-cert-auth: true}
peer-transport-security:
  cert-file: /p.crt
  allowed-cn: [a]
`,
    );
    const process = { ...self, cmdline: `etcd\0--config-file=${file}\0--cert-file=/no\0` };
    const { components } = await find(context, { processes: { 10: process } });
    assert.deepEqual(components[0]?.flags, [
      { name: 'config-file', value: file },
      { name: 'listen-client-urls', value: 'https://127.0.0.1:2379' },
      { name: 'cert-file', value: '/c.crt' },
      { name: 'client-cert-auth', value: 'true' },
      { name: 'peer-cert-file', value: '/p.crt' },
    ]);
  });

  for (const [name, text] of [
    ['missing', undefined],
    ['malformed', 'a: [c2VjcmV0'],
    ['not a map', '"c2VjcmV0"'],
  ] as const) {
    it(`reports a configuration file of etcd that is ${name}`, async (context) => {
      const file = join(await temporaryDirectory(context), 'etcd.yaml');
      if (text !== undefined) await writeFile(file, text);
      const environ = `ETCD_CONFIG_FILE=${file}\0`;
      const process = { ...self, cmdline: 'etcd\0', environ };
      const { components, problems } = await find(context, { processes: { 10: process } });
      assert.deepEqual(components[0]?.flags, [{ name: 'config-file', value: file }]);
      assert.equal(problems[0]?.path, file);
      assert.match(problems[0].reason, /^--config-file of etcd (?:does not exist$|is not )/);
      assert.doesNotMatch(problems[0].reason, /c2Vjcm/);
    });
  }
});
