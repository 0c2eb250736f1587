import assert from 'node:assert/strict';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { kubeconfigCertificate } from '../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../src/kube/kubeconfig-document.ts';
import { Child } from '../support/child.ts';
import { nodecertd } from '../support/doctor.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { scaled } from '../support/machine-speed.ts';
import { controlPlaneDirectory } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { freePorts } from '../support/real-components.ts';

/** `certs renew` on a running etcd and kube-apiserver with the certificates of kubeadm. */

const skip = skipWithoutKubeadm() || skipWithoutRealControlPlane();

interface Ports {
  readonly client: number;
  readonly peer: number;
  readonly api: number;
}

function etcdArgs({ certificates, root }: RealKubeadmTree, { client, peer }: Ports): string[] {
  const file = (name: string): string => join(certificates, 'etcd', name);
  return [
    `--data-dir=${join(root, 'etcd')}`,
    `--listen-client-urls=https://127.0.0.1:${client}`,
    `--advertise-client-urls=https://127.0.0.1:${client}`,
    `--listen-peer-urls=https://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=https://127.0.0.1:${peer}`,
    `--initial-cluster=default=https://127.0.0.1:${peer}`,
    `--cert-file=${file('server.crt')}`,
    `--key-file=${file('server.key')}`,
    `--trusted-ca-file=${file('ca.crt')}`,
    '--client-cert-auth=true',
    `--peer-cert-file=${file('peer.crt')}`,
    `--peer-key-file=${file('peer.key')}`,
    `--peer-trusted-ca-file=${file('ca.crt')}`,
    '--peer-client-cert-auth=true',
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

function apiServerArgs({ certificates }: RealKubeadmTree, { client, api }: Ports): string[] {
  const file = (name: string): string => join(certificates, name);
  return [
    `--etcd-servers=https://127.0.0.1:${client}`,
    `--etcd-cafile=${file('etcd/ca.crt')}`,
    `--etcd-certfile=${file('apiserver-etcd-client.crt')}`,
    `--etcd-keyfile=${file('apiserver-etcd-client.key')}`,
    '--bind-address=127.0.0.1',
    '--endpoint-reconciler-type=none',
    `--secure-port=${api}`,
    `--tls-cert-file=${file('apiserver.crt')}`,
    `--tls-private-key-file=${file('apiserver.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    `--kubelet-client-certificate=${file('apiserver-kubelet-client.crt')}`,
    `--kubelet-client-key=${file('apiserver-kubelet-client.key')}`,
    `--proxy-client-cert-file=${file('front-proxy-client.crt')}`,
    `--proxy-client-key-file=${file('front-proxy-client.key')}`,
    `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
    '--authorization-mode=Node,RBAC',
    '--service-cluster-ip-range=10.96.0.0/12',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${file('sa.pub')}`,
    `--service-account-signing-key-file=${file('sa.key')}`,
    '--profiling=false',
  ];
}

/** The status of a request on a new connection, with the kubeconfig as it is now. */
async function status({ kubernetes }: RealKubeadmTree, { api }: Ports): Promise<number> {
  const path = join(kubernetes, 'super-admin.conf');
  const found = kubeconfigCertificate(new KubeconfigDocument(path, await readFile(path, 'utf8')));
  const { source, authority } = found;
  assert.ok(source.kind === 'embedded' && authority !== undefined);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const sent = request(
    {
      host: '127.0.0.1',
      port: api,
      path: '/api/v1/namespaces/kube-system/configmaps',
      agent: false,
      ca: Buffer.from(authority),
      cert: Buffer.from(source.certificate),
      key: Buffer.from(source.key.expose()),
      timeout: 10 * second,
    },
    (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    },
  );
  sent.on('error', reject).on('timeout', () => sent.destroy(new Error('timed out')));
  sent.end();
  return promise;
}

async function untilReady(tree: RealKubeadmTree, ports: Ports, server: Child): Promise<void> {
  const deadline = Date.now() + scaled(90 * second);
  while ((await status(tree, ports).catch(() => 0)) !== 200) {
    if (Date.now() > deadline || !server.running) throw server.failure('did not become ready');
    await delay(second / 4);
  }
}

/** Makes a request five times a second, and returns what failed. */
async function probing(
  probe: () => Promise<number>,
  work: () => Promise<void>,
): Promise<{ readonly requests: number; readonly failures: readonly string[] }> {
  const failures: string[] = [];
  const stop = new AbortController();
  let requests = 0;
  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const result = await probe().catch((error: unknown) => String(error));
      requests += 1;
      if (result !== 200) failures.push(String(result));
      await delay(second / 5);
    }
  };
  const done = loop();
  await work();
  // The last requests are after the renewal.
  await delay(second);
  stop.abort();
  await done;
  return { requests, failures };
}

interface Renewal {
  readonly certificates: readonly {
    readonly name: string;
    readonly state: string;
    readonly served?: { readonly kind: string; readonly endpoints: readonly string[] };
  }[];
  readonly warnings: readonly unknown[];
}

describe('certs renew beside a running control plane', { skip }, () => {
  it('waits until etcd and kube-apiserver serve all new certificates', async (context) => {
    await using tree = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
    const [client = 0, peer = 0, api = 0] = await freePorts(3);
    const ports = { client, peer, api };
    const logs = join(tree.root, 'logs');
    await mkdir(logs);
    const child = (name: string, args: readonly string[]): Child =>
      new Child({
        name,
        command: join(controlPlaneDirectory(), name),
        args,
        logFile: join(logs, name),
      });
    await using _ = child('etcd', etcdArgs(tree, ports));
    await using server = child('kube-apiserver', apiServerArgs(tree, ports));
    await untilReady(tree, ports, server);
    await rm(join(tree.kubernetes, 'scheduler.conf'));
    await rm(join(tree.kubernetes, 'controller-manager.conf'));

    const { requests, failures } = await probing(
      () => status(tree, ports),
      async () => {
        const place = ['--kubernetes-dir', tree.kubernetes];
        const ended = await nodecertd('certs', 'renew', '--all', '--yes', '-o', 'json', ...place);
        assert.deepEqual([ended.code, ended.stderr], [0, '']);
        const { certificates, warnings } = JSON.parse(ended.stdout) as Renewal;
        assert.deepEqual(warnings, []);
        const served = certificates.flatMap(({ name, served: found }) =>
          found === undefined ? [] : [[name, found.kind, found.endpoints.join()]],
        );
        assert.deepEqual(served, [
          ['etcd-server', 'current', 'etcd-client'],
          ['etcd-peer', 'current', 'etcd-peer'],
          ['apiserver', 'current', 'kube-apiserver'],
        ]);
      },
    );
    context.diagnostic(`${requests} requests, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.ok(requests > 5);
  });
});
