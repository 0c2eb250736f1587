import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { scaled } from '../support/machine-speed.ts';
import type { Container } from '../support/nspawn.ts';

const service = 'nodecertd.service';
const directory = '/etc/kubernetes';
const diary = '/var/lib/nodecertd/renewed';

const configuration = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AgentConfiguration',
  // The kubelet rotates it.
  certificates: [{ name: 'kubelet-client', profile: 'kubelet-client' }],
  pki: {
    enabled: true,
    rotation: { from: '10%', to: '11%' },
    hooks: [{ command: ['/usr/local/bin/after-renewal'] }],
  },
};

const skip = skipWithoutKubeadmCluster();

type Entry = Readonly<Record<string, unknown>>;

/**
 * The installed service on a control-plane node of kubeadm, whose certificates are due. The unit is
 * that of the package, without a drop-in for its sandbox.
 */
describe('the service on a control-plane node', { skip, timeout: scaled(600_000) }, () => {
  let cluster: KubeadmCluster;
  let container: Container;
  /** The names of the certificates that the interrupted renewal completed. */
  let completed = '';
  before(async () => {
    requirePackages();
    // kubeadm dates notBefore back by five minutes, so a seventh of the lifetime has passed.
    const validity = { certificateValidityPeriod: '30m' };
    cluster = await startKubeadmCluster({ controlPlanes: 1, workers: 0, configuration: validity });
    ({ container } = cluster.node('control-plane-1'));
    await container.must('dpkg', '--install', await container.take(builtPackage.file));
    await container.write('/etc/nodecertd/config.yaml', stringify(configuration));
    // No time service reaches the clock of a container, so a script takes the place of timedatectl.
    await program('/opt/synchronized/timedatectl', 'echo NTPSynchronized=yes');
    await program('/usr/local/bin/after-renewal', `echo "$NODECERTD_CERTIFICATES" >> ${diary}`);
    const searchPath = '[Service]\nEnvironment=PATH=/opt/synchronized:/usr/sbin:/usr/bin\n';
    await container.write(`/etc/systemd/system/${service}.d/path.conf`, searchPath);
    // The lifetime of a certificate counts from the time of its file.
    const old = ['-newermt', '1 hour ago', '-exec', 'touch', '--date=1 hour ago', '{}', '+'];
    await container.must('find', directory, '-type', 'f', ...old);
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  async function program(path: string, text: string): Promise<void> {
    await container.write(path, `#!/bin/sh\n${text}\n`, 0o755);
  }

  async function serial(file: string): Promise<string> {
    return new X509Certificate(await container.read(`${directory}/pki/${file}`)).serialNumber;
  }

  async function untilLogged(event: string): Promise<Entry> {
    return container.until(
      event,
      async () => (await container.logged(service)).find((entry) => entry['event'] === event),
      scaled(300_000),
    );
  }

  it('restores the current certificate when it stops, and keeps the hooks of the others', async () => {
    const first = await serial('etcd/server.crt');
    const second = await serial('etcd/peer.crt');
    await container.must('systemctl', 'start', service);
    const isSecond = async () => (await serial('etcd/peer.crt')) !== second || undefined;
    await container.until('the second certificate', isSecond, scaled(120_000));
    await container.must('systemctl', 'stop', service);
    const { code, certificates } = await untilLogged('pki_failed');
    assert.equal(code, 'ABORTED');
    assert.ok(Array.isArray(certificates) && certificates[0] === 'etcd-server');
    assert.notEqual(await serial('etcd/server.crt'), first);
    assert.notEqual((await container.run('test', '-e', diary)).code, 0);
    completed = certificates.join(' ');
  });

  it('runs these hooks at the next start, renews the rest, and restarts one component', async () => {
    const before = await serial('apiserver.crt');
    // Its release begins a pause of ten minutes.
    await cluster.kubectl('delete', 'lease', '--namespace=kube-system', 'nodecertd-pki-renewal');
    await container.must('systemctl', 'enable', '--now', service);
    const { certificates, restarted } = await untilLogged('pki_renewed');
    assert.ok(Array.isArray(certificates) && certificates.includes('apiserver'));
    assert.deepEqual(restarted, ['kube-controller-manager']);
    assert.notEqual(await serial('apiserver.crt'), before);
    const verified = await container.run('nodecertd', 'certs', 'verify');
    assert.equal(verified.code, 0, verified.stdout);
    const lines = `${completed}\n${certificates.join(' ')}\n`;
    const hasRun = async () => (await container.read(diary)) === lines || undefined;
    await container.until('the hooks', hasRun);
  });

  it('held the Lease, and shows the renewal in its status', async () => {
    const lease = ['get', 'lease', '--namespace=kube-system', 'nodecertd-pki-renewal'];
    assert.match(await cluster.kubectl(...lease), /^nodecertd-pki-renewal /m);
    const { stdout } = await container.run('nodecertd', 'status');
    assert.match(stdout, /^\/etc\/kubernetes +renewed +- +- +/m);
    const scrape =
      'exec 3<>/dev/tcp/127.0.0.1/9471; printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3';
    const metrics = await container.must('bash', '-c', scrape);
    assert.match(metrics, /^nodecertd_pki_renewals_total\{result="succeeded"\} 1$/m);
    assert.match(metrics, /^nodecertd_pki_failed 0$/m);
    await cluster.untilReady();
  });
});
