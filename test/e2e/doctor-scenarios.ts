import assert from 'node:assert/strict';
import { mkdtemp, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { hour } from '../../src/core/instant.ts';
import { approvalRemedy } from '../../src/core/remedies.ts';
import { client, serving, TestNode } from '../support/agent.ts';
import { pinOf } from '../support/discovery-plane.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import type { DoctorRun } from '../support/doctor.ts';
import { doctorReport, findingOf, nodecertd, problemsOf } from '../support/doctor.ts';
import { scaled } from '../support/machine-speed.ts';
import { base64 } from '../kube/support/api-server.ts';
import type { Authority } from '../kube/support/certificates.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import type { SuiteOptions } from './scenarios.ts';

const signingSeconds = 3_600;

/** Tests that `nodecertd doctor` finds the faults that each test creates, with their remedies. */
export function doctorSuite({ name, start, skip = false }: SuiteOptions): void {
  describe(name, { skip }, () => {
    let controlPlane: ControlPlane;
    before(async () => {
      controlPlane = await start({ signingSeconds });
    });
    after(async () => {
      await controlPlane?.[Symbol.asyncDispose]();
    });

    it('finds no problem on a node before its first start', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-new');
      const admin = join(node.directory, 'admin.conf');
      await writeFile(admin, await controlPlane.adminKubeconfig(), { mode: 0o600 });
      const found = await checkNode(node, '--admin-kubeconfig', admin);
      assert.deepEqual([found.code, problemsOf(found)], [0, []], found.stdout);
      assert.match(found.username ?? '', /^system:bootstrap:/);
      assert.match(findingOf(found, 'bootstrap-credential').what, / and does not expire$/);
      assert.match(findingOf(found, 'permissions').what, /certificatesigningrequests\/nodeclient$/);
      const unread = findingOf(await checkNode(node), 'bootstrap-credential');
      assert.match(unread.what, /its expiry is unknown/);
    });

    it('finds no problem on a healthy node, and finds its agent', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-well');
      const agent = node.start();
      await agent.event('certificate_stored');
      const found = await checkNode(node);
      assert.deepEqual([found.code, problemsOf(found)], [0, []], found.stdout);
      assert.equal(found.username, 'system:node:doctor-well');
      assert.match(findingOf(found, 'agent').what, new RegExp(`^the agent with pid ${agent.pid} `));
      assert.equal(findingOf(found, 'pair').severity, 'ok');
      assert.doesNotMatch(found.stdout + found.stderr, /PRIVATE|0123456789abcdef/);
      assert.deepEqual(agent.all('pair_changed'), [], 'the examination changed something');
    });

    it('finds future problems, and exits with 3', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-later', {
        certificates: [client, serving],
      });
      await controlPlane.setNodeAddresses(node.name, [
        { type: 'InternalIP', address: '192.0.2.7' },
      ]);
      const agent = node.start();
      const { csr } = await agent.event('csr_created', 'kubelet-server');
      await embedCertificate(node);
      await writeFile(join(node.directory, 'kubelet.yaml'), 'rotateCertificates: true\n');
      await controlPlane.setRenewing(false);
      try {
        const expected = [
          'warning approval-not-permitted',
          'warning kubeconfig-stale',
          'warning kubelet-serves-other-pair',
          'warning second-rotator',
        ];
        const found = await checkUntil(node, expected);
        assert.equal(found.code, 3);
        const request = findingOf(found, 'request-pending');
        assert.equal(request.subject, csr);
        assert.equal(request.remedy, approvalRemedy(String(csr), kubeletServingSigner));
        assert.match(findingOf(found, 'second-rotator').what, /true in .*kubelet\.yaml$/);
        for (const id of ['second-rotator', 'kubeconfig-stale'] as const) {
          assert.match(findingOf(found, id).remedy ?? '', /: nodecertd adopt; /);
        }
      } finally {
        await controlPlane.setRenewing(true);
      }
      await controlPlane.deny(String(csr), 'not wanted');
      const denied = await checkNode(node);
      assert.equal(denied.code, 4);
      assert.match(findingOf(denied, 'request-denied').what, /was denied/);
    });

    it('runs once in the agent after the first certificate, with one request', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'nodecertd-e2e-kubelet-'));
      const configFile = join(directory, 'kubelet.yaml');
      await writeFile(configFile, 'rotateCertificates: true\n');
      try {
        await using node = await TestNode.create(controlPlane, 'doctor-self', {
          kubelet: { configFile },
        });
        const agent = node.start();
        const line = await agent.event('preflight_finding');
        assert.deepEqual(
          [line['id'], line['severity'], line['subject']],
          ['second-rotator', 'warning', 'kubelet-client'],
        );
        assert.match(String(line['remedy']), /: nodecertd adopt; /);
        // No check may delay the first certificate of a node.
        const events = agent.lines.map(({ event }) => event);
        assert.ok(events.indexOf('certificate_stored') < events.indexOf('preflight_finding'));
        assert.match(
          (await agent.get('/metrics')).text,
          /^nodecertd_preflight_findings\{severity="warning"\} 1$/m,
        );
        const found = (await agent.status()).preflight ?? [];
        assert.deepEqual(problemsOf({ findings: found }), ['warning second-rotator']);
        await agent.stop();
        const asked = (await controlPlane.requests()).filter(
          ({ user }) => user === 'system:node:doctor-self',
        );
        assert.deepEqual(
          asked.map(({ verb, resource }) => `${verb} ${resource}`),
          ['create selfsubjectreviews', 'create selfsubjectaccessreviews'],
        );
      } finally {
        await rm(directory, { recursive: true });
      }
    });

    it('finds present problems, and exits with 4', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-now');
      const agent = node.start();
      await agent.event('certificate_stored');
      await agent.stop();
      const other = await checkNode(node, '--hostname-override', 'other-node');
      assert.equal(other.code, 4);
      assert.deepEqual(problemsOf(other), ['error node-name-mismatch', 'error node-name-mismatch']);
      assert.match(findingOf(other, 'node-name-mismatch').remedy ?? '', /to doctor-now;/);

      await rename(await node.target('kubelet-client'), join(node.directory, 'away.pem'));
      await writeFile(join(node.directory, 'bootstrap.conf'), await wrongToken(controlPlane));
      const dangling = await checkNode(node);
      assert.equal(dangling.code, 4);
      assert.deepEqual(problemsOf(dangling), [
        'error bootstrap-refused',
        'error kubeconfig-invalid',
        'error pair-dangling',
      ]);
      await unlink(node.current('kubelet-client'));
      await rm(join(node.directory, 'bootstrap.conf'));
      const lost = await checkNode(node);
      assert.equal(lost.code, 4);
      assert.deepEqual(problemsOf(lost), ['error bootstrap-missing', 'error kubeconfig-invalid']);
      assert.match(findingOf(lost, 'not-checked').what, /no usable credential/);
    });

    it('reports an unreachable API server, and still checks the files', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-away');
      await writeFile(join(node.directory, 'kubelet.yaml'), '{ rotateCertificates: true }');
      await controlPlane.stopApi();
      try {
        const found = await checkNode(node);
        assert.equal(found.code, 4);
        assert.deepEqual(problemsOf(found), ['error api-unreachable', 'warning second-rotator']);
        assert.match(findingOf(found, 'not-checked').what, /permissions and requests/);
      } finally {
        await controlPlane.startApi();
      }
    });

    it("does not trust another cluster's API server", async () => {
      await using node = await nodeOf(controlPlane, 'doctor-foreign');
      const text = await controlPlane.bootstrapKubeconfig();
      const other = base64((await makeAuthority('another')).pem);
      await writeFile(
        join(node.directory, 'bootstrap.conf'),
        text.replace(/(certificate-authority-data: ).*/, `$1${other}`),
      );
      const found = await checkNode(node);
      assert.equal(found.code, 4);
      assert.deepEqual(problemsOf(found), ['error api-untrusted']);
    });

    it('names the command while the API server uses another CA than the node', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-missed');
      const old = await makeAuthority('another');
      await moveToCa(node, old, Date.now() + hour);
      const found = await checkNode(node);
      const { remedy = '' } = findingOf(found, 'trust-lost');
      const hashes = `--ca-cert-hash ${pinOf(old.pem)} sha256:HEX`;
      assert.ok(remedy.includes(`if the CA of the cluster changed: `), remedy);
      assert.ok(remedy.includes(hashes), remedy);
    });

    it('names the command that brings back a node without trust and certificate', async () => {
      await using node = await nodeOf(controlPlane, 'doctor-lost');
      const old = await makeAuthority('another');
      const bootstrap = await moveToCa(node, old, Date.now() - 1_000);
      const endpoint = new URL(controlPlane.server).host;
      const commandFor = (...hashes: readonly string[]): string =>
        `nodecertd discover --endpoint ${endpoint} --token-file FILE --ca-cert-hash ${hashes.join(' ')} --output ${bootstrap} --force`;
      const command = commandFor('sha256:HEX');
      const found = await checkNode(node);
      assert.ok(problemsOf(found).includes('error kubeconfig-expired'));
      const { remedy = '' } = findingOf(found, 'trust-lost');
      assert.ok(remedy.endsWith(commandFor(pinOf(old.pem), 'sha256:HEX')), remedy);
      const agent = node.start();
      const failed = await agent.event('rotation_failed');
      assert.equal(failed['code'], 'API_UNTRUSTED');
      assert.ok(String(failed['remedy']).endsWith(command), String(failed['remedy']));
      const status = await nodecertd('status', '--config', node.configFile);
      assert.ok(status.stdout.includes(command), status.stdout);
    });
  });
}

/** A node whose kubelet does not rotate. */
async function nodeOf(
  controlPlane: ControlPlane,
  name: string,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<TestNode> {
  const node = await TestNode.create(controlPlane, name, settings);
  await writeFile(join(node.directory, 'kubelet.yaml'), 'rotateCertificates: false\n');
  return node;
}

/**
 * Both kubeconfigs of the node get another CA than the cluster has, and a client certificate from it.
 * @returns the path of the bootstrap kubeconfig
 */
async function moveToCa(node: TestNode, ca: Authority, notAfter: number): Promise<string> {
  const bootstrap = join(node.directory, 'bootstrap.conf');
  const text = await readFile(bootstrap, 'utf8');
  await writeFile(
    bootstrap,
    text.replace(/(certificate-authority-data: ).*/, `$1${base64(ca.pem)}`),
  );
  const { cert, key } = await ca.issue({
    commonName: `system:node:${node.name}`,
    usages: ['client auth'],
    notAfter,
  });
  const kubeconfig = parse(await readFile(bootstrap, 'utf8')) as Kubeconfig;
  for (const entry of kubeconfig.users) {
    entry.user = {
      'client-certificate-data': base64(cert),
      'client-key-data': base64(key),
    };
  }
  const path = join(node.directory, 'kubelet.conf');
  await writeFile(path, stringify(kubeconfig), { mode: 0o600 });
  return bootstrap;
}

async function checkNode(node: TestNode, ...args: readonly string[]): Promise<DoctorRun> {
  const kubelet = join(node.directory, 'kubelet.yaml');
  return doctorReport('--config', node.configFile, '--kubelet-config', kubelet, ...args);
}

/** The authorizer of a real API server sees a new binding with a delay. */
async function checkUntil(node: TestNode, expected: readonly string[]): Promise<DoctorRun> {
  for (let tries = 0; ; tries += 1) {
    const found = await checkNode(node);
    if (tries === scaled(10) || problemsOf(found).join() === expected.join()) {
      assert.deepEqual(problemsOf(found), expected);
      return found;
    }
    await delay(500);
  }
}

interface Kubeconfig {
  readonly users: { user: Record<string, string> }[];
}

/** Embeds the current pair in the kubeconfig, as in k/k #71825. */
async function embedCertificate(node: TestNode): Promise<void> {
  const path = join(node.directory, 'kubelet.conf');
  const kubeconfig = parse(await readFile(path, 'utf8')) as Kubeconfig;
  const data = (await readFile(node.current('kubelet-client'))).toString('base64');
  for (const entry of kubeconfig.users) {
    entry.user = { 'client-certificate-data': data, 'client-key-data': data };
  }
  await writeFile(path, stringify(kubeconfig));
}

async function wrongToken(controlPlane: ControlPlane): Promise<string> {
  const text = await controlPlane.bootstrapKubeconfig();
  return text.replace(/(token: )\S+/, '$1zzzzzz.0123456789abcdef');
}
