import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { cp } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import { skipWithoutContainer } from '../support/container-root.ts';
import { DueKubeadmTree } from '../support/due-kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { Container } from '../support/nspawn.ts';

const service = 'nodecertd.service';
const dropIns = `/etc/systemd/system/${service}.d`;
const nodeName = 'cp-1';
const pki = '/etc/kubernetes/pki';
const diary = '/var/lib/nodecertd/renewed';

const configuration = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AgentConfiguration',
  certificates: [{ name: 'kubelet-client', profile: 'kubelet-client' }],
  metrics: { address: '127.0.0.1:0' },
  pki: {
    enabled: true,
    rotation: { from: '10%', to: '11%' },
    hooks: [{ command: ['/usr/local/bin/after-renewal'] }],
  },
};

const skip = skipWithoutContainer() || skipWithoutKubeadm();

/** The sandbox of the unit. No component of the control plane runs. */
describe('the service with pki.enabled', { skip, timeout: 300_000 }, () => {
  let due: DueKubeadmTree;
  let container: Container;
  before(async () => {
    requirePackages();
    due = await DueKubeadmTree.create(nodeName);
    container = await Container.boot({ hostName: nodeName });
    await container.must('dpkg', '--install', await container.take(builtPackage.file));
    await container.write('/etc/nodecertd/config.yaml', stringify(configuration));
    // No time service reaches the clock of a container, so a script takes the place of timedatectl.
    await program('/opt/synchronized/timedatectl', 'echo NTPSynchronized=yes');
    await program('/usr/local/bin/after-renewal', `echo "$NODECERTD_CERTIFICATES" >> ${diary}`);
    const searchPath = '[Service]\nEnvironment=PATH=/opt/synchronized:/usr/sbin:/usr/bin\n';
    await container.write(`${dropIns}/path.conf`, searchPath);
  });
  after(async () => {
    await container?.[Symbol.asyncDispose]();
    await due?.[Symbol.asyncDispose]();
  });

  async function program(path: string, text: string): Promise<void> {
    await container.write(path, `#!/bin/sh\n${text}\n`, 0o755);
  }

  /** The files of kubeadm before any renewal, and a cluster in which no node has renewed. */
  async function reset(): Promise<void> {
    const kubernetes = container.path('/etc/kubernetes');
    await container.must('rm', '-rf', '/etc/kubernetes');
    await cp(due.tree.kubernetes, kubernetes, { recursive: true, preserveTimestamps: true });
    due.leases.leases.clear();
  }

  async function serial(): Promise<string> {
    return new X509Certificate(await container.read(`${pki}/apiserver.crt`)).serialNumber;
  }

  /** The n-th log line with this event. */
  async function logged(event: string, nth = 1) {
    return container.until(
      `line ${nth} of ${event}`,
      async () =>
        (await container.logged(service)).filter((entry) => entry['event'] === event)[nth - 1],
    );
  }

  it('renews files of root inside the sandbox of the unit, and runs the hooks', async () => {
    await reset();
    const before = await serial();
    await container.must('systemctl', 'daemon-reload');
    await container.must('systemctl', 'start', service);
    const { certificates } = await logged('pki_renewed');
    assert.ok(Array.isArray(certificates) && certificates.includes('apiserver'));
    assert.notEqual(await serial(), before);
    await logged('hook_succeeded');
    assert.equal(await container.read(diary), `${certificates.join(' ')}\n`);
    const { stdout } = await container.run('nodecertd', 'status');
    assert.match(stdout, /^\/etc\/kubernetes +renewed /m);
    await container.must('systemctl', 'stop', service);
  });

  it('changes nothing if the sandbox does not allow to keep the group of a key', async () => {
    await reset();
    await container.must('chgrp', 'daemon', `${pki}/apiserver.key`);
    const before = await serial();
    await container.must('systemctl', 'start', service);
    const { code, error } = await logged('pki_failed');
    assert.equal(code, 'STORE_PERMISSIONS', String(error));
    assert.equal(await serial(), before);
    const group = await container.must('stat', '--format=%G', `${pki}/apiserver.key`);
    assert.equal(group, 'daemon\n');
    await container.must('systemctl', 'stop', service);
  });

  it('keeps the group of a key with the drop-in', async () => {
    await reset();
    await container.must('chgrp', 'daemon', `${pki}/apiserver.key`);
    const before = await serial();
    await container.must('cp', '/usr/share/doc/nodecertd/systemd/control-plane.conf', dropIns);
    await container.must('systemctl', 'daemon-reload');
    await container.must('systemctl', 'start', service);
    await logged('pki_renewed', 2);
    assert.notEqual(await serial(), before);
    const shown = await container.must('stat', '--format=%U %G %a', `${pki}/apiserver.key`);
    assert.equal(shown, 'root daemon 600\n');
  });
});
