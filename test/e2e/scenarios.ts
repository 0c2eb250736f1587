import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { LogLine, TestAgent } from '../support/agent.ts';
import { client, serving, TestNode } from '../support/agent.ts';
import { doctorReport, findingOf, nodecertd } from '../support/doctor.ts';
import type {
  AuditedRequest,
  ControlPlane,
  ControlPlaneOptions,
} from '../support/control-plane.ts';
import { scaled } from '../support/machine-speed.ts';

/** Short enough to see rotations, and long enough to complete one in its last tenth. */
const signingSeconds = scaled(30);

export interface SuiteOptions {
  readonly name: string;
  readonly start: (options: ControlPlaneOptions) => Promise<ControlPlane>;
  /** The reason if the suite cannot run here. */
  readonly skip?: string | false;
}

/** Tests an agent on a control plane. Each scenario uses its own node. */
export function endToEndSuite({ name, start, skip = false }: SuiteOptions): void {
  describe(name, { skip }, () => {
    let controlPlane: ControlPlane;
    before(async () => {
      controlPlane = await start({ signingSeconds });
    });
    after(async () => {
      await controlPlane?.[Symbol.asyncDispose]();
    });

    describe('each on a node of its own', { concurrency: 5 }, () => {
      // First, because it takes longest.
      it('survives an API server that is down until its certificate expires', async () => {
        // A control plane of its own, because the API server of the other scenarios
        // must stay up.
        await using ownControlPlane = await start({ signingSeconds });
        await using node = await TestNode.create(ownControlPlane, 'away');
        const agent = node.start();
        const { notAfter } = await agent.event('certificate_stored');
        await agent.event('enroller_stopped');
        await ownControlPlane.stopApi();
        const failed = await agent.event('rotation_failed');
        assert.equal(failed['code'], 'API_UNREACHABLE');
        assert.ok(await node.read('kubelet-client'), 'the old pair is gone');
        await passes(Date.parse(String(notAfter)) + 1_000);
        await ownControlPlane.startApi();

        await agent.event('certificate_stored', 'kubelet-client', 2);
        await agent.event('rotation_recovered');
        assert.equal(agent.all('csr_created').length, 2);
        assert.ok(Date.parse((await node.read('kubelet-client')).validTo) > Date.now());
      });

      it('bootstraps with a token: pair, kubeconfig, two requests', async () => {
        await using node = await TestNode.create(controlPlane, 'bootstrap');
        const agent = node.start();
        const { csr } = await agent.event('csr_created');
        await agent.event('certificate_stored');
        await agent.event('rotation_deadline');

        const certificate = await node.read('kubelet-client');
        assert.equal(certificate.subject, 'O=system:nodes\nCN=system:node:bootstrap');
        assert.match(await node.target('kubelet-client'), /\/kubelet-client-\d{4}(-\d\d){5}\.pem$/);
        assert.equal((await stat(node.current('kubelet-client'))).mode & 0o777, 0o600);
        const kubeconfig = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
        assert.ok(kubeconfig.includes(`client-certificate: ${node.current('kubelet-client')}`));
        assert.deepEqual(await requestsFor(controlPlane, String(csr)), [
          { user: 'system:bootstrap', verb: 'create', code: 201 },
          { user: 'system:bootstrap', verb: 'watch', code: 200 },
        ]);
        assert.equal((await agent.get('/healthz')).code, 200);
        assert.equal((await agent.get('/readyz')).code, 200);
        assert.match((await agent.get('/metrics')).text, /nodecertd_rotations_total\{[^}]*\} 1\n/);
        await endsCleanly(agent);
      });

      it('makes no request after a restart, and keeps the deadline', async () => {
        await using node = await TestNode.create(controlPlane, 'restart');
        const first = node.start();
        const { deadline } = await first.event('rotation_deadline');
        await first.stop();
        const before = await node.target('kubelet-client');

        const second = node.start();
        assert.equal((await second.event('rotation_deadline'))['deadline'], deadline);
        assert.equal(await node.target('kubelet-client'), before);
        assert.deepEqual(second.all('csr_created'), []);
      });

      it('rotates between 70% and 90% of the lifetime, with two requests', async () => {
        await using node = await TestNode.create(controlPlane, 'rotation');
        const agent = node.start();
        await agent.event('certificate_stored');
        const { current, rotationDeadline } = await agent.certificate('kubelet-client');
        assert.ok(current !== undefined && rotationDeadline !== undefined);
        const { storedAt } = current as { storedAt?: number } & typeof current;
        assert.ok(storedAt !== undefined);
        const part = (rotationDeadline - storedAt) / (current.notAfter - storedAt);
        assert.ok(part >= 0.7 && part < 0.9, `the deadline is at ${part} of the lifetime`);

        await agent.event('certificate_stored', 'kubelet-client', 2);
        const startedAt = Date.parse(
          String((await agent.event('rotation_started', undefined, 2))['time']),
        );
        assert.ok(startedAt >= rotationDeadline, 'rotation began before its deadline');
        assert.ok(startedAt < current.notAfter, 'rotation began after the certificate expired');
        const { csr } = await agent.event('csr_created', undefined, 2);
        assert.deepEqual(await requestsFor(controlPlane, String(csr)), [
          { user: 'system:node:rotation', verb: 'create', code: 201 },
          { user: 'system:node:rotation', verb: 'watch', code: 200 },
        ]);
        assert.notEqual((await node.read('kubelet-client')).serialNumber, current.serial);
        await leavesNoEnroller(agent);
      });

      it('stores a self-signed pair until the serving CSR is approved', async () => {
        await controlPlane.setNodeAddresses('serving', [
          { type: 'InternalIP', address: '10.1.2.3' },
          { type: 'InternalIP', address: 'fd00::1' },
          { type: 'Hostname', address: 'serving' },
        ]);
        const certificates = [client, serving];
        await using node = await TestNode.create(controlPlane, 'serving', { certificates });
        const agent = node.start();
        const { csr } = await agent.event('csr_created', 'kubelet-server');
        assert.match((await node.read('kubelet-server')).subject, /^CN=serving@\d+$/);
        assert.equal((await agent.certificate('kubelet-server')).state, 'pending-approval');
        const ready = await agent.get('/readyz');
        assert.equal(ready.code, 503);
        assert.match(ready.text, /kubelet-server/);

        await controlPlane.approve(String(csr));
        await agent.event('certificate_stored', 'kubelet-server');
        const certificate = await node.read('kubelet-server');
        assert.equal(certificate.subject, 'O=system:nodes\nCN=system:node:serving');
        assert.deepEqual(certificate.subjectAltName?.split(', ').sort(), [
          'DNS:serving',
          'IP Address:10.1.2.3',
          'IP Address:FD00:0:0:0:0:0:0:1',
        ]);
      });

      it("requests a serving certificate again when the node's addresses change", async () => {
        const first = { type: 'InternalIP', address: '10.0.0.1' };
        await controlPlane.setNodeAddresses('addresses', [first]);
        await using node = await TestNode.create(controlPlane, 'addresses', {
          certificates: [client, serving],
          addressRefresh: '0s',
        });
        const agent = node.start();
        const { csr } = await agent.event('csr_created', 'kubelet-server');
        await controlPlane.approve(String(csr));
        await agent.event('certificate_stored', 'kubelet-server');

        await controlPlane.setNodeAddresses('addresses', [
          first,
          { type: 'ExternalIP', address: '192.0.2.7' },
        ]);
        const started = await agent.event('rotation_started', 'kubelet-server', 2);
        assert.equal(started['reason'], 'ip-address-missing');
        const next = await agent.event('csr_created', 'kubelet-server', 2);
        await controlPlane.approve(String(next['csr']));
        await agent.event('certificate_stored', 'kubelet-server', 2);
        const { subjectAltName } = await node.read('kubelet-server');
        assert.equal(subjectAltName, 'IP Address:10.0.0.1, IP Address:192.0.2.7');
      });

      for (const [verb, code, act] of refusals) {
        it(`keeps the old pair and waits for hours after a CSR was ${verb}`, async () => {
          const node = await TestNode.create(controlPlane, verb, {
            certificates: [client, serving],
          });
          await using _ = node;
          await controlPlane.setNodeAddresses(verb, [{ type: 'InternalIP', address: '10.0.0.9' }]);
          const agent = node.start();
          const { csr } = await agent.event('csr_created', 'kubelet-server');
          const before = await node.target('kubelet-server');
          await act(controlPlane, String(csr));

          const failed = await agent.event('rotation_failed', 'kubelet-server');
          assert.equal(failed['code'], code);
          assert.equal(typeof failed['remedy'], 'string');
          const wait = Date.parse(String(failed['retryAt'])) - Date.parse(String(failed['time']));
          assert.ok(wait > 50 * 60_000, `the next try is ${wait} ms away`);
          assert.equal(await node.target('kubelet-server'), before);
          assert.equal((await agent.certificate('kubelet-server')).state, 'backing-off');
          assert.equal(agent.all('csr_created', 'kubelet-server').length, 1);
        });
      }

      it('creates a new CSR a minute after its pending CSR was deleted', async () => {
        await controlPlane.setNodeAddresses('deleted', [
          { type: 'InternalIP', address: '10.0.0.8' },
        ]);
        const certificates = [client, serving];
        await using node = await TestNode.create(controlPlane, 'deleted', { certificates });
        const agent = node.start();
        const { csr } = await agent.event('csr_created', 'kubelet-server');
        await controlPlane.deleteCsr(String(csr));
        const failed = await agent.event('rotation_failed', 'kubelet-server');
        assert.equal(failed['code'], 'CSR_DELETED');
        const next = await agent.event('csr_created', 'kubelet-server', 2);
        assert.notEqual(next['csr'], csr);
      });

      it('bootstraps again when the certificate expired while it was stopped', async () => {
        await using node = await TestNode.create(controlPlane, 'expired');
        const first = node.start();
        const { notAfter } = await first.event('certificate_stored');
        await first.stop();
        await passes(Date.parse(String(notAfter)) + 1_000);

        const second = node.start();
        assert.equal((await second.event('rotation_started'))['reason'], 'expired');
        assert.equal((await second.event('credential_chosen'))['source'], 'bootstrap');
        await second.event('certificate_stored');
        assert.ok(Date.parse((await node.read('kubelet-client')).validTo) > Date.now());
      });

      it('notices at once that its pairs were deleted, and replaces them', async () => {
        await using node = await TestNode.create(controlPlane, 'vanished');
        const agent = node.start();
        await agent.event('certificate_stored');
        await agent.event('enroller_stopped');
        for (const file of await readdir(node.pki)) {
          if (file.endsWith('.pem')) await rm(join(node.pki, file));
        }
        assert.equal((await agent.event('rotation_started', undefined, 2))['reason'], 'no-pair');
        await agent.event('certificate_stored', 'kubelet-client', 2);
        await node.read('kubelet-client');
      });

      it('uses its own pair when kubelet.conf embeds an older one, and warns', async () => {
        await using node = await TestNode.create(controlPlane, 'stale');
        const first = node.start();
        await first.event('certificate_stored');
        await first.stop();
        await embedCredential(node);

        const second = node.start();
        // The second rotation happens after the embedded certificate has expired.
        await second.event('certificate_stored', undefined, 2);
        assert.match(String((await second.event('kubeconfig_stale'))['remedy']), /current\.pem/);
        // One line for each rotation, and one for the preflight check.
        const sources = second.all('credential_chosen').map(({ source }) => source);
        assert.ok(sources.length >= 2, `${sources.length} credentials`);
        assert.deepEqual([...new Set(sources)], ['kubeconfig']);
        assert.deepEqual(second.all('rotation_failed'), []);
      });

      it('leaves another kind of file at the kubeconfig path alone', async () => {
        await using node = await TestNode.create(controlPlane, 'foreign');
        const kubeconfig = join(node.directory, 'kubelet.conf');
        const text =
          'kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nrotateCertificates: true\n';
        await writeFile(kubeconfig, text);
        const agent = node.start();
        const failed = await agent.event('rotation_failed');
        assert.equal(failed['code'], 'KUBECONFIG_INVALID');
        const said =
          /kubelet\.conf is a KubeletConfiguration \(kubelet\.config\.k8s\.io\/v1beta1\)/;
        assert.match(String(failed['error']), said);
        assert.match(String(failed['remedy']), /^Set kubeconfig \(--kubeconfig\)/);
        assert.deepEqual(agent.all('csr_created'), []);
        assert.match((await agent.status()).kubeconfig?.message ?? '', said);
        const finding = findingOf(
          await doctorReport('--config', node.configFile),
          'kubeconfig-invalid',
        );
        assert.match(finding.what, said);
        assert.equal(finding.remedy, failed['remedy']);
        assert.equal(await readFile(kubeconfig, 'utf8'), text);

        // The agent notices at once that the file is gone, and continues.
        await rm(kubeconfig);
        await agent.event('certificate_stored');
        await agent.event('kubeconfig_written');
      });

      it('writes a corrupt kubeconfig again and uses its own certificate', async () => {
        await using node = await TestNode.create(controlPlane, 'reset');
        const kubeconfig = join(node.directory, 'kubelet.conf');
        const first = node.start();
        await first.event('certificate_stored');
        await first.event('kubeconfig_written');
        const written = await readFile(kubeconfig, 'utf8');
        await writeFile(kubeconfig, written.slice(0, 700));
        await first.event('kubeconfig_set_aside');
        await first.event('kubeconfig_written', undefined, 2);
        assert.equal(await readFile(kubeconfig, 'utf8'), written);
        const [copy = ''] = (await readdir(node.directory)).filter((file) =>
          file.startsWith('kubelet.conf.nodecertd-'),
        );
        assert.equal(await readFile(join(node.directory, copy), 'utf8'), written.slice(0, 700));
        await first.stop();

        // While no agent runs, and without the bootstrap kubeconfig.
        await writeFile(kubeconfig, '');
        await rm(join(node.directory, 'bootstrap.conf'));
        assert.match(await statusOf(node), /kubelet: kubeconfig .*kubelet\.conf is empty/);
        const second = node.start();
        await second.event('kubeconfig_written');
        assert.equal(await readFile(kubeconfig, 'utf8'), written);
        await second.event('certificate_stored');
        const sources = second.all('credential_chosen').map(({ source }) => source);
        assert.deepEqual([...new Set(sources)], ['kubeconfig']);
        assert.equal((await second.status()).kubeconfig, undefined);
      });

      for (const [name, what, harm] of harms) {
        it(`notices at once ${what}, and gets a new certificate`, async () => {
          await using node = await TestNode.create(controlPlane, name);
          const agent = node.start();
          await agent.event('certificate_stored');
          await agent.event('enroller_stopped');
          const { serialNumber } = await node.read('kubelet-client');
          // Two rounds, because the agent must also watch a folder that it has created
          // again.
          for (const round of [1, 2]) {
            const harmed = Date.now();
            const asides = agent.all('pair_set_aside').length;
            await harm(node);
            const started = await agent.event('rotation_started', undefined, round + 1);
            await agent.event('certificate_stored', 'kubelet-client', round + 1);
            const delay = delayAfter(harmed, started);
            // Without the watch, the agent would notice a minute after its last round.
            assert.ok(delay < 45_000, `${delay} ms`);
            assert.equal(started['reason'], 'no-pair');
            if (name === 'damaged') {
              assert.equal(agent.all('pair_set_aside').length, asides + 1);
            }
            await agent.event('enroller_stopped', undefined, agent.all('enroller_started').length);
          }
          assert.notEqual((await node.read('kubelet-client')).serialNumber, serialNumber);
        });
      }

      it('defers to a kubelet that rotates, and takes over when that stops', async () => {
        await using other = await TestNode.create(controlPlane, 'watched');
        const issuer = other.start();
        await issuer.event('certificate_stored');
        await issuer.stop();
        await using node = await TestNode.create(controlPlane, 'watched', {
          kubelet: { configFile: 'kubelet.yaml', certificateDirectory: 'pki' },
        });
        const kubeletConfig = join(node.directory, 'kubelet.yaml');
        await writeFile(kubeletConfig, 'rotateCertificates: true\n');
        const agent = node.start();
        const { path, remedy } = await agent.event('deferring_to_kubelet');
        assert.deepEqual([path, typeof remedy], [kubeletConfig, 'string']);
        await swapAsKubelet(node, await readFile(other.current('kubelet-client')));
        await agent.event('rotation_deadline');
        const { state, usable } = await agent.certificate('kubelet-client');
        assert.deepEqual([state, usable], ['observing', true]);
        assert.match(
          (await agent.get('/metrics')).text,
          /certificate_state\{[^}]*state="observing"\} 1\n/,
        );
        await swapAsKubelet(node, await readFile(other.current('kubelet-client')));
        await agent.event('pair_observed');
        // After the deadline the agent makes no request, but it reports the overdue
        // rotation.
        await agent.event('rotation_overdue');
        assert.deepEqual(agent.all('csr_created'), []);
        assert.deepEqual(agent.all('rotation_started'), []);
        const files = (await readdir(node.pki)).filter((file) => file !== '.nodecertd.lock').sort();
        assert.deepEqual(files.slice(-1), ['kubelet-client-current.pem']);
        assert.deepEqual(files.slice(0, -1), ['kubelet-client-1.pem', 'kubelet-client-2.pem']);

        await writeFile(kubeletConfig, 'rotateCertificates: false\n');
        await agent.event('deferring_to_kubelet_over');
        await agent.event('certificate_stored');
        assert.equal((await agent.certificate('kubelet-client')).state, 'valid');
      });

      it('replaces an enroller that was killed while its CSR is pending', async () => {
        await controlPlane.setNodeAddresses('killed', [
          { type: 'InternalIP', address: '10.0.0.7' },
        ]);
        const certificates = [client, serving];
        await using node = await TestNode.create(controlPlane, 'killed', { certificates });
        const agent = node.start();
        await agent.event('csr_created', 'kubelet-server');
        const { pid } = (await agent.event('enroller_started')) as { pid?: number };
        assert.equal(typeof pid, 'number');
        process.kill(Number(pid), 'SIGKILL');
        const failed = await agent.event('rotation_failed', 'kubelet-server');
        assert.equal(failed['code'], 'ENROLLER_LOST');
        const next = await agent.event('csr_created', 'kubelet-server', 2);
        await controlPlane.approve(String(next['csr']));
        await agent.event('certificate_stored', 'kubelet-server');
        await node.read('kubelet-server');
      });
    });
  });
}

const refusals: readonly (readonly [
  string,
  string,
  (controlPlane: ControlPlane, csr: string) => Promise<void>,
])[] = [
  ['denied', 'CSR_DENIED', (controlPlane, csr) => controlPlane.deny(csr, 'NotToday')],
  [
    'failed',
    'CSR_FAILED',
    (controlPlane, csr) => controlPlane.fail(csr, 'SignerValidationFailure'),
  ],
];

const harms: readonly (readonly [string, string, (node: TestNode) => Promise<void>])[] = [
  ['damaged', 'junk behind the link', (node) => writeFile(node.current('kubelet-client'), 'junk')],
  [
    'dangling',
    'the pair removed behind the link',
    async (node) => rm(await node.target('kubelet-client')),
  ],
  ['emptied', 'the directory of the pairs removed', (node) => rm(node.pki, { recursive: true })],
];

function delayAfter(moment: number, line: LogLine): number {
  return Date.parse(String(line['time'])) - moment;
}

/** Waits in real time, because a real certificate must expire or a real server must stay down. */
async function passes(moment: number): Promise<void> {
  await delay(Math.max(moment - Date.now(), 0));
}

async function requestsFor(
  controlPlane: ControlPlane,
  csr: string,
): Promise<Pick<AuditedRequest, 'user' | 'verb' | 'code'>[]> {
  // The audit log is written after the response, and a watch appears there when it
  // ends.
  for (let tries = 0; tries < scaled(100); tries += 1) {
    const found = (await controlPlane.requests()).filter(({ name }) => name === csr);
    const own = found.filter(({ user }) => /^system:(bootstrap|node):/.test(user));
    if (own.length >= 2) {
      return own.map(({ user, verb, code }) => ({
        user: user.replace(/^(system:bootstrap):.*/, '$1'),
        verb,
        code,
      }));
    }
    await delay(100);
  }
  throw new Error(`the audit log shows no two requests for ${csr}`);
}

/** client-go removes the current link before it renames the new one into its place. */
async function swapAsKubelet(node: TestNode, pair: Uint8Array): Promise<void> {
  await mkdir(node.pki, { recursive: true });
  const count = (await readdir(node.pki)).filter((file) => /-\d\.pem$/.test(file)).length + 1;
  const file = join(node.pki, `kubelet-client-${count}.pem`);
  const updated = join(node.pki, 'kubelet-client-updated.pem');
  await writeFile(file, pair, { mode: 0o600 });
  await symlink(file, updated);
  await rm(node.current('kubelet-client'), { force: true });
  await rename(updated, node.current('kubelet-client'));
}

/** Replaces the paths in the kubeconfig by data, as some tools do. */
async function embedCredential(node: TestNode): Promise<void> {
  const file = join(node.directory, 'kubelet.conf');
  const current = node.current('kubelet-client');
  const data = (await readFile(current)).toString('base64');
  const kubeconfig = await readFile(file, 'utf8');
  await writeFile(
    file,
    kubeconfig
      .replace(`client-certificate: ${current}`, `client-certificate-data: ${data}`)
      .replace(`client-key: ${current}`, `client-key-data: ${data}`),
  );
}

/** What `nodecertd status` prints. */
async function statusOf(node: TestNode): Promise<string> {
  const { stdout } = await nodecertd('status', '--config', node.configFile);
  return stdout;
}

async function endsCleanly(agent: TestAgent): Promise<void> {
  await agent.stop();
  assert.equal(agent.exitCode, 0);
  assert.equal(agent.all('agent_stopped').length, 1);
}

/** Checks that the enroller exits when its work is done. */
async function leavesNoEnroller(agent: TestAgent): Promise<void> {
  await agent.event('enroller_stopped', undefined, agent.all('enroller_started').length);
  for (const { pid } of agent.all('enroller_started')) {
    assert.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' });
  }
}
