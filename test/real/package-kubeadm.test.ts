import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import { bootKubeletNode, skipWithoutKubeletNode, untilReady } from '../support/kubelet-node.ts';
import type { Container } from '../support/nspawn.ts';
import { startRealControlPlane } from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';

const agent = 'nodecertd.service';
const kubelet = 'kubelet.service';
const bystander = 'bystander.service';
const nodeName = 'worker-3';
const kubeletPort = 10_252;
const pki = '/var/lib/kubelet/pki';
const dropIns = '/etc/kubernetes/kubelet.conf.d';
const diary = '/run/bystander';

const configuration = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AgentConfiguration',
  bootstrapKubeconfig: '/etc/kubernetes/bootstrap-kubelet.conf',
  kubelet: { configDirectory: dropIns },
  certificates: [
    { name: 'kubelet-client', profile: 'kubelet-client' },
    {
      name: 'kubelet-server',
      profile: 'kubelet-serving',
      onRotate: [
        { signal: 'SIGHUP', unit: bystander },
        { systemctl: 'restart', unit: bystander },
      ],
      served: { endpoints: [`127.0.0.1:${kubeletPort}`, `localhost:${kubeletPort}`] },
    },
  ],
  metrics: { address: '127.0.0.1:0' },
};

type Entry = Readonly<Record<string, unknown>>;

/** Records that it was started or signaled. */
const bystanderUnit = `[Service]
ExecStart=/bin/sh -c 'trap "echo hangup >>${diary}" HUP; echo started >>${diary}; while :; do sleep 1000 & wait; done'
`;

const skip = skipWithoutKubeletNode();

/**
 * Follows docs/install.md on a kubeadm node. Its kubelet rotates the client
 * certificate, signs its own serving certificate, and reads drop-ins. Each test
 * continues where the previous one ended.
 */
describe('the service on a node of kubeadm', { skip, timeout: 300_000 }, () => {
  let container: Container;
  let controlPlane: RealControlPlane;

  before(async () => {
    requirePackages();
    controlPlane = await startRealControlPlane({ signingSeconds: 3_600 });
    container = await bootKubeletNode({
      nodeName,
      port: kubeletPort,
      controlPlane,
      configuration: { serverTLSBootstrap: false },
      flags: `--config-dir=${dropIns}`,
    });
    await container.must('mkdir', dropIns);
    await container.write(`/etc/systemd/system/${bystander}`, bystanderUnit);
    await container.must('systemctl', 'start', kubelet, bystander);
    await untilReady(container, { nodeName, controlPlane });
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
    await container.write('/etc/nodecertd/config.yaml', stringify(configuration));
  });
  after(async () => {
    await container?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  async function metrics(): Promise<string> {
    const state = await container.read('/var/lib/nodecertd/state.json');
    const { metricsAddress } = JSON.parse(state) as { readonly metricsAddress: string };
    const response = await fetch(`http://${metricsAddress}/metrics`);
    return response.text();
  }

  async function untilLogged(event: string, fields: Entry = {}): Promise<Entry> {
    return container.until(`${event} ${JSON.stringify(fields)}`, async () => {
      const wanted = Object.entries({ event, ...fields });
      const entries = await container.logged(agent);
      return entries.findLast((entry) => wanted.every(([key, value]) => entry[key] === value));
    });
  }

  async function fingerprint(file: string): Promise<string> {
    const shown = ['openssl', 'x509', '-noout', '-fingerprint', '-sha256', '-in', `${pki}/${file}`];
    return container.must(...shown);
  }

  it("defers for the client pair, and treats the kubelet's own as self-signed", async () => {
    await container.must('systemctl', 'enable', '--now', agent);
    const line = await untilLogged('deferring_to_kubelet');
    assert.deepEqual(
      [line['certificate'], line['path']],
      ['kubelet-client', '/var/lib/kubelet/config.yaml'],
    );
    await untilLogged('csr_created');
    const { code, stdout } = await container.run('nodecertd', 'status');
    assert.equal(code, 4, stdout);
    assert.match(stdout, /^kubelet-client +valid, observing /m);
    assert.match(stdout, /^kubelet-server +self-signed, pending-approval /m);
    assert.equal(await fingerprint('kubelet-server-current.pem'), await fingerprint('kubelet.crt'));
    const text = await metrics();
    assert.match(text, /^nodecertd_certificate_usable\{[^}]*"kubelet-server"[^}]*\} 0$/m);
    assert.match(text, /^nodecertd_certificate_usable\{[^}]*"kubelet-client"[^}]*\} 1$/m);
    assert.match(text, /^nodecertd_certificate_expiration_seconds\{[^}]*"kubelet-client"/m);
    const examined = (await container.run('nodecertd', 'doctor')).stdout;
    assert.match(examined, /info .*\(kubelet-rotates\)/);
    assert.match(examined, /warning .*\(kubelet-serves-other-pair\)/);
  });

  it('adopts the kubelet with one drop-in', async () => {
    const main = await container.read('/var/lib/kubelet/config.yaml');
    const { stdout } = await container.run('nodecertd', 'adopt', '--yes', '--restart');
    assert.match(stdout, /^Changed: 1 file, and the kubelet was restarted$/m);
    assert.equal(await container.must('ls', dropIns), '90-nodecertd.conf\n');
    assert.equal(await container.read('/var/lib/kubelet/config.yaml'), main);
    await untilLogged('deferring_to_kubelet_over');
  });

  it('runs hooks under systemd, and sees the kubelet serve the new certificate', async () => {
    const [pending] = (await controlPlane.csrs()).filter(({ issued }) => !issued);
    await controlPlane.approve(pending?.name ?? '');
    const { serial } = await untilLogged('certificate_stored');
    const { endpoints } = await untilLogged('served_checked', { serial });
    assert.deepEqual(endpoints, [`127.0.0.1:${kubeletPort}`, `localhost:${kubeletPort}`]);
    assert.match(await container.read(diary), /hangup\nstarted\n$/);
    const text = await metrics();
    for (const hook of [`restart ${bystander}`, `SIGHUP ${bystander}`]) {
      const name = new RegExp(
        `^nodecertd_hook_runs_total\\{[^}]*hook="${hook}"[^}]*"succeeded"[^}]*\\} [1-9]`,
        'm',
      );
      assert.match(text, name);
    }
    const { code, stdout } = await container.run('nodecertd', 'doctor');
    assert.equal(code, 0, stdout);
  });

  it('defers to a kubelet with a flag, and adopt refuses the flag with its line', async () => {
    const file = '/etc/default/kubelet';
    const before = await container.read(file);
    const flags = `--config-dir=${dropIns} --rotate-certificates`;
    await container.write(file, `# mine\nKUBELET_EXTRA_ARGS="${flags}"\n`);
    await container.must('systemctl', 'restart', kubelet, agent);
    const line = await untilLogged('deferring_to_kubelet', { key: '--rotate-certificates' });
    assert.match(String(line['path']), /^(?:kubelet\.service|\/proc\/\d+\/cmdline)$/);
    const { code, stdout } = await container.run('nodecertd', 'adopt');
    assert.equal(code, 4, stdout);
    assert.match(
      stdout,
      /--rotate-certificates=true in line 2 of \/etc\/default\/kubelet overrides/,
    );
    await container.write(file, before);
    await container.must('systemctl', 'restart', kubelet, agent);
    await container.must('nodecertd', 'adopt');
  });

  it('reverts by removing the drop-in', async () => {
    await container.must('nodecertd', 'adopt', '--revert', '--yes', '--restart');
    assert.equal(await container.must('ls', dropIns), '');
    await untilLogged('deferring_to_kubelet', { path: '/var/lib/kubelet/config.yaml' });
    const { stdout } = await container.run('nodecertd', 'status');
    assert.match(stdout, /^kubelet-client +valid, observing /m);
    await untilReady(container, { nodeName, controlPlane });
  });
});
