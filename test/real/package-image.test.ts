import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { fingerprintOf, parsePair } from '../support/agent.ts';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import { bootKubeletNode, skipWithoutKubeletNode, untilReady } from '../support/kubelet-node.ts';
import type { Container } from '../support/nspawn.ts';
import { startRealControlPlane } from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import { TlsProber } from '../support/tls-prober.ts';

const agent = 'nodecertd.service';
const kubelet = 'kubelet.service';
const nodeName = 'worker-2';
const kubeletPort = 10_251;
const bootstrapKubeconfig = '/etc/kubernetes/bootstrap-kubelet.conf';
const serverLink = '/var/lib/kubelet/pki/kubelet-server-current.pem';
const examples = '/usr/share/doc/nodecertd/systemd';
/** Runs outside of the container, as in the build of an image. */
const nodecertd = join(import.meta.dirname, '../../dist/nodecertd');

const skip = skipWithoutKubeletNode();

/**
 * Builds an image as docs/install.md describes, with a kubeadm kubelet that has never
 * run, and boots it.
 */
describe('a node that is made from an image', { skip, timeout: 300_000 }, () => {
  let container: Container;
  let controlPlane: RealControlPlane;

  before(async () => {
    requirePackages();
    controlPlane = await startRealControlPlane({ signingSeconds: 3_600 });
    container = await bootKubeletNode({ nodeName, port: kubeletPort, controlPlane });
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
    await container.must('systemctl', 'enable', agent, kubelet);
    await container.must('mkdir', '-p', `/etc/systemd/system/${agent}.d`);
    await container.must(
      'cp',
      `${examples}/before-kubelet.conf`,
      `/etc/systemd/system/${agent}.d/`,
    );
    await container.must('rm', bootstrapKubeconfig);
  });
  after(async () => {
    await container?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  it('is prepared from outside by one change of the kubelet configuration', async () => {
    const { stdout } = await promisify(execFile)(nodecertd, [
      'adopt',
      '--root',
      container.path('/'),
      '--kubelet-config',
      '/var/lib/kubelet/config.yaml',
      '--yes',
    ]);
    assert.match(stdout, /^Changed: 1 file$/m);
    assert.match(stdout, /\(first-start\)$/m);
    const changed = await container.read('/var/lib/kubelet/config.yaml');
    assert.match(changed, new RegExp(`^tlsCertFile: ${serverLink}$`, 'm'));
  });

  it('becomes Ready with certificates that only nodecertd requested', async () => {
    await container.write(bootstrapKubeconfig, await controlPlane.bootstrapKubeconfig(), 0o600);
    await container.reboot();
    await untilReady(container, { nodeName, controlPlane });
    assert.equal(await container.property(kubelet, 'NRestarts'), '0');
    const created = (await controlPlane.requests()).filter(
      ({ verb, resource }) => verb === 'create' && resource === 'certificatesigningrequests',
    );
    assert.equal(created.length, 2);
    assert.ok(created.every(({ userAgent }) => userAgent.startsWith('nodecertd/')));
  });

  it("serves the cluster's certificate as soon as it is approved", async () => {
    const [pending] = (await controlPlane.csrs()).filter(({ issued }) => !issued);
    await controlPlane.approve(pending?.name ?? '');
    const { caPem } = controlPlane;
    using prober = new TlsProber({ port: kubeletPort, serverName: nodeName, caPem, perSecond: 5 });
    const shown = await container.until(
      'a certificate that a client trusts',
      async () => prober.handshakes.find(({ error }) => error === undefined)?.fingerprint,
    );
    assert.equal(shown, fingerprintOf(parsePair(await container.must('cat', serverLink))));
    const { code, stdout } = await container.run('nodecertd', 'doctor');
    assert.equal(code, 0, stdout);
  });
});
