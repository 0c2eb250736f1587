import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { second } from '../../src/core/instant.ts';
import { kubeconfigCertificate } from '../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../src/kube/kubeconfig-document.ts';
import { renew } from '../../src/pki/renewal/renewal.ts';
import { optionsFor, requestFor } from '../pki/renewal/renewal-tree.ts';
import { Child } from '../support/child.ts';
import { nodecertd } from '../support/doctor.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { scaled } from '../support/machine-speed.ts';
import { controlPlaneDirectory } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { freePorts } from '../support/free-ports.ts';

/** `certs renew` on a running etcd, kube-apiserver and kube-controller-manager with the certificates of kubeadm. */

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
async function status(
  { kubernetes }: RealKubeadmTree,
  { api }: Ports,
  question = { kubeconfig: 'super-admin.conf', path: '/api/v1/namespaces/kube-system/configmaps' },
): Promise<number> {
  const path = join(kubernetes, question.kubeconfig);
  const found = kubeconfigCertificate(new KubeconfigDocument(path, await readFile(path, 'utf8')));
  const { source, authority } = found;
  assert.ok(source.kind === 'embedded' && authority !== undefined);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const sent = request(
    {
      host: '127.0.0.1',
      port: api,
      path: question.path,
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

/** admin.conf may read /readyz as soon as kube-apiserver has created its ClusterRoles. */
async function untilReady(tree: RealKubeadmTree, ports: Ports, server: Child): Promise<void> {
  const deadline = Date.now() + scaled(90 * second);
  const readyz = { kubeconfig: 'admin.conf', path: '/readyz' };
  while ((await status(tree, ports, readyz).catch(() => 0)) !== 200) {
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
  try {
    await work();
    // The last requests are after the renewal.
    await delay(second);
  } finally {
    stop.abort();
    await done;
  }
  return { requests, failures };
}

interface Renewal {
  readonly certificates: readonly {
    readonly name: string;
    readonly state: string;
    readonly served?: { readonly kind: string; readonly endpoints: readonly string[] };
  }[];
  readonly warnings: readonly { readonly what: string }[];
}

/** etcd and kube-apiserver with the files of the tree. */
async function startControlPlane(
  tree: RealKubeadmTree,
): Promise<AsyncDisposable & { readonly ports: Ports }> {
  const [client = 0, peer = 0, api = 0] = await freePorts(3);
  const ports = { client, peer, api };
  await mkdir(join(tree.root, 'logs'));
  await using stack = new AsyncDisposableStack();
  stack.use(start(tree, { program: 'etcd', args: etcdArgs(tree, ports) }));
  const args = apiServerArgs(tree, ports);
  const server = stack.use(start(tree, { program: 'kube-apiserver', args }));
  await untilReady(tree, ports, server);
  const started = stack.move();
  return { ports, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

interface Program {
  readonly program: string;
  readonly args: readonly string[];
  /** The name of the log, if two processes run the same program. */
  readonly name?: string;
}

function start(tree: RealKubeadmTree, { program, args, name = program }: Program): Child {
  const command = join(controlPlaneDirectory(), program);
  return new Child({ name, command, args, logFile: logOf(tree, name) });
}

function logOf({ root }: RealKubeadmTree, name: string): string {
  return join(root, 'logs', name);
}

describe('certs renew beside a running control plane', { skip }, () => {
  it('waits until etcd and kube-apiserver serve all new certificates', async (context) => {
    await using tree = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
    await using controlPlane = await startControlPlane(tree);
    const { ports } = controlPlane;
    await rm(join(tree.kubernetes, 'scheduler.conf'));
    await rm(join(tree.kubernetes, 'controller-manager.conf'));

    const { requests, failures } = await probing(
      () => status(tree, ports),
      async () => {
        const place = ['--kubernetes-dir', tree.kubernetes];
        const ended = await nodecertd('certs', 'renew', '--all', '--yes', '-o', 'json', ...place);
        assert.deepEqual([ended.code, ended.stderr], [0, ''], ended.stdout);
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

  it('a controller-manager outlives its old certificate only after a restart', async () => {
    await using tree = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
    await using controlPlane = await startControlPlane(tree);
    const { api } = controlPlane.ports;
    const kubeconfig = join(tree.kubernetes, 'controller-manager.conf');
    const text = await readFile(kubeconfig, 'utf8');
    await writeFile(kubeconfig, text.replace(/server: .*/, `server: https://127.0.0.1:${api}`));
    const lifetime = scaled(10 * second);
    await shorten(tree, lifetime);
    const end = Date.now() + lifetime;
    const args = managerArgs(kubeconfig);
    const startManager = (name: string): Child => start(tree, { program: manager, args, name });
    await using _ = startManager('neglected');
    await using first = startManager('first');
    await untilLogged(tree, 'neglected', election);
    await untilLogged(tree, 'first', election);
    const place = ['--kubernetes-dir', tree.kubernetes, '--lifetime', '1y', '--yes'];
    const ended = await nodecertd('certs', 'renew', 'controller-manager.conf', ...place);
    assert.equal(ended.code, 3);
    assert.match(
      ended.stdout,
      /RESTART BY HAND\n {2}kube-controller-manager reads the certificate/,
    );
    await first.stop(0);
    await using restarted = startManager('restarted');
    await untilLogged(tree, 'restarted', election);
    assert.ok(Date.now() < end, 'the old certificate expired before the restart');
    await untilLogged(tree, 'neglected', /err="Unauthorized"/);
    // Both processes make a request every two seconds.
    await delay(scaled(5 * second));
    assert.doesNotMatch(await readFile(logOf(tree, 'first'), 'utf8'), /Unauthorized/);
    assert.doesNotMatch(await readFile(logOf(tree, 'restarted'), 'utf8'), /Unauthorized/);
    assert.ok(restarted.running);
  });
});

const manager = 'kube-controller-manager';
const election = /Attempting to acquire leader lease/;

/** Issues the certificate for less time than the command accepts. */
async function shorten(tree: RealKubeadmTree, ms: number): Promise<void> {
  const selection = ['controller-manager.conf'];
  const options = optionsFor({ selection, lifetime: { kind: 'duration', ms } });
  const { result } = await renew(requestFor(tree), {
    ...options,
    describe: () => ({}),
    endpoints: [],
  });
  assert.equal(result.renewed.length, 1);
}

/** A process that does not lead still reads the Lease every two seconds. */
function managerArgs(kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    '--secure-port=0',
    '--controllers=root-ca-certificate-publisher-controller',
  ];
}

async function untilLogged(tree: RealKubeadmTree, name: string, text: RegExp): Promise<void> {
  const deadline = Date.now() + scaled(60 * second);
  for (;;) {
    const log = await readFile(logOf(tree, name), 'utf8');
    if (text.test(log)) return;
    if (Date.now() > deadline) throw new Error(`${name} did not log ${text}: ${log}`);
    await delay(second / 4);
  }
}
