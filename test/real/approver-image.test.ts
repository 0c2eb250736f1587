import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { dns, nodeSubject, requestPem } from '../approver/requests.ts';
import { approverManifests, label, namespace } from '../support/approver-deployment.ts';
import type { LiveCsr } from '../support/approver-plane.ts';
import { builtImage, skipWithoutImage } from '../support/built-image.ts';
import { skipWithoutHelm } from '../support/helm.ts';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { scaled } from '../support/machine-speed.ts';
import { newCsr } from '../support/real-csr.ts';

const skip = skipWithoutKubeadmCluster() || skipWithoutImage() || skipWithoutHelm();

interface ServingCsr extends LiveCsr {
  readonly spec: { readonly signerName: string; readonly username: string };
}

/** The archive of `make image`, imported into containerd on two control planes, and the chart. */
describe('the OCI image and the chart in a kubeadm cluster', { skip, timeout: 600_000 }, () => {
  let cluster: KubeadmCluster;
  before(async () => {
    const mounts = { '/opt/image.tar': builtImage.archive };
    cluster = await startKubeadmCluster({ controlPlanes: 2, workers: 0, mounts });
    for (const { container } of cluster.nodes) {
      await container.must('ctr', '--namespace=k8s.io', 'images', 'import', '/opt/image.tar');
    }
    const [first] = cluster.nodes;
    assert.ok(first !== undefined);
    const file = '/opt/approver.yaml';
    await first.container.write(file, await approverManifests());
    await first.container.must('kubectl', 'apply', `--filename=${file}`);
    await untilAvailable();
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  async function kubectl(...args: readonly string[]): Promise<string> {
    return cluster.kubectl(`--namespace=${namespace}`, ...args);
  }

  async function untilAvailable(): Promise<void> {
    const limit = `--timeout=${Math.round(scaled(120))}s`;
    try {
      await kubectl('rollout', 'status', 'deployment/nodecertd-approver', limit);
    } catch (cause) {
      const { container } = cluster.node('control-plane-1');
      const select = [`--namespace=${namespace}`, `--selector=${label}`];
      const described = await container.run('kubectl', 'describe', 'pods', ...select);
      const logged = await container.run('kubectl', 'logs', '--prefix', '--tail=20', ...select);
      throw new Error(`${described.stdout}${logged.stdout}${logged.stderr}`, { cause });
    }
  }

  async function list<T>(...args: readonly string[]): Promise<readonly T[]> {
    const text = await kubectl('get', ...args, '--output=json');
    return (JSON.parse(text) as { readonly items: readonly T[] }).items;
  }

  async function pods(): Promise<string[]> {
    const found = await list<{ readonly metadata: { readonly name: string } }>(
      'pods',
      `--selector=${label}`,
    );
    return found.map(({ metadata }) => metadata.name);
  }

  /** The Pod that holds the Lease; undefined while there is none. */
  async function leader(): Promise<string | undefined> {
    const path = '--output=jsonpath={.spec.holderIdentity}';
    const holder = await kubectl('get', 'lease', 'nodecertd-approver', path);
    return holder.split('_')[0] || undefined;
  }

  async function until<T>(what: string, probe: () => Promise<T | undefined>): Promise<T> {
    return cluster.node('control-plane-1').container.until(what, probe, scaled(60_000));
  }

  /** Restarts the kubelet so that it requests a serving certificate, and returns the issued CSR. */
  async function bootstrapServing(name: string): Promise<ServingCsr> {
    const { container } = cluster.node(name);
    const file = '/var/lib/kubelet/config.yaml';
    await container.write(file, `${await container.read(file)}serverTLSBootstrap: true\n`);
    await container.must('systemctl', 'restart', 'kubelet');
    return until(`a serving certificate for ${name}`, async () => {
      const all = await list<ServingCsr>('csr');
      return all.find(
        ({ spec, status }) =>
          spec.signerName === 'kubernetes.io/kubelet-serving' &&
          spec.username === `system:node:${name}` &&
          status.certificate !== undefined,
      );
    });
  }

  /** The Pods whose log has a decision about the CSR. */
  async function decidedBy(csr: string): Promise<string[]> {
    const deciders: string[] = [];
    const { container } = cluster.node('control-plane-1');
    for (const name of await pods()) {
      // A kubelet that has just been started does not know the log of a Pod yet.
      const { code, stdout } = await container.run(
        'kubectl',
        `--namespace=${namespace}`,
        'logs',
        name,
      );
      if (code !== 0) continue;
      const lines = stdout.split('\n').filter(Boolean);
      const events = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
      if (events.some((line) => line['event'] === 'csr_decided' && line['csr'] === csr)) {
        deciders.push(name);
      }
    }
    return deciders;
  }

  it('runs without root, capabilities, a shell, and a writable file system', async () => {
    const [name = ''] = await pods();
    const script = `
      const { readFileSync, writeFileSync } = require('node:fs');
      const status = Object.fromEntries(readFileSync('/proc/1/status', 'utf8').split('\\n').map((line) => line.split(/:\\s+/)));
      const attempt = (path) => { try { writeFileSync(path, ''); return 'written'; } catch ({ code }) { return code; } };
      const { Uid, Gid, CapPrm, CapBnd, NoNewPrivs, Seccomp } = status;
      JSON.stringify({ Uid, Gid, CapPrm, CapBnd, NoNewPrivs, Seccomp, root: attempt('/file'), program: attempt('/usr/lib/nodecertd/main.js') })`;
    const node = '/usr/lib/nodecertd/node';
    const found: unknown = JSON.parse(await kubectl('exec', name, '--', node, '--print', script));
    assert.deepEqual(found, {
      Uid: '65532\t65532\t65532\t65532',
      Gid: '65532\t65532\t65532\t65532',
      CapPrm: '0000000000000000',
      CapBnd: '0000000000000000',
      NoNewPrivs: '1',
      Seccomp: '2',
      root: 'EROFS',
      program: 'EROFS',
    });
    await assert.rejects(kubectl('exec', name, '--', 'sh'), /"sh": executable file not found/);
  });

  it('approves the serving CSR of a kubelet', async () => {
    const { metadata, status } = await bootstrapServing('control-plane-1');
    assert.deepEqual(
      status.conditions?.map(({ type, reason }) => `${type} ${reason}`),
      ['Approved ServingPolicyPassed'],
    );
    assert.ok(metadata.annotations?.['nodecertd.io/approver'] !== undefined);
    const { container, address } = cluster.node('control-plane-1');
    const stored = '/var/lib/kubelet/pki/kubelet-server-current.pem';
    const pem = await until('the kubelet to store its certificate', async () => {
      const { code, stdout } = await container.run('cat', stored);
      return code === 0 ? stdout : undefined;
    });
    const certificate = new X509Certificate(pem);
    const ca = new X509Certificate(await container.read('/etc/kubernetes/pki/ca.crt'));
    assert.ok(certificate.checkIP(address) !== undefined && certificate.verify(ca.publicKey));
  });

  it('explains a held CSR in the Pod with the policy and the service account of the approver', async () => {
    const { container } = cluster.node('control-plane-1');
    const name = 'csr-early';
    const request = requestPem({
      subject: nodeSubject('system:node:early'),
      altNames: [dns('early')],
    });
    const csr = newCsr({ name, request, usages: ['digital signature', 'server auth'] });
    const file = '/opt/csr.json';
    await container.write(file, JSON.stringify(csr));
    const groups = ['system:nodes', 'system:authenticated'].map((group) => `--as-group=${group}`);
    await kubectl('create', `--filename=${file}`, '--as=system:node:early', ...groups);
    const policy = ['--policy', '/etc/nodecertd/policy.yaml'];
    const explain = ['nodecertd', 'approver', 'explain', name, ...policy, '--output', 'json'];
    const [pod = ''] = await pods();
    const exec = ['kubectl', `--namespace=${namespace}`, 'exec', pod, '--'];
    // The kubelet has just been started, and may not know the Pod yet.
    await until(`the kubelet to run commands in ${pod}`, async () => {
      const version = await container.run(...exec, 'nodecertd', '--version');
      return version.code === 0 ? pod : undefined;
    });
    const { code, stdout, stderr } = await container.run(...exec, ...explain);
    const { reason, message } = JSON.parse(stdout || '{}') as Readonly<Record<string, unknown>>;
    assert.deepEqual([code, reason], [3, 'NodeNotFound'], stderr);
    const held = await until('an Event of the hold', async () => {
      const events = await list<{ readonly message: string; readonly reason: string }>(
        'events',
        `--namespace=default`,
        `--field-selector=involvedObject.name=${name}`,
      );
      return events.find((event) => event.reason === 'Held');
    });
    assert.equal(held.message, `${String(reason)}: ${String(message)}`);
    await kubectl('delete', 'csr', name);
  });

  it('lets another replica lead after the Pod of the leader is deleted', async () => {
    const before = await until('a leader', leader);
    await kubectl('delete', 'pod', before);
    const next = await until('another leader', async () => {
      const name = await leader();
      return name === before ? undefined : name;
    });
    const { metadata } = await bootstrapServing('control-plane-2');
    const deciders = await until('a decision in a log', async () => {
      const found = await decidedBy(metadata.name);
      return found.length === 0 ? undefined : found;
    });
    assert.deepEqual(deciders, [next]);
    await untilAvailable();
  });
});
