import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { stringify } from 'yaml';
import { pod } from '../pki/components/manifests.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { kubeadmProgram } from '../support/kubeadm.ts';
import { nodecertd } from './inventory.ts';
import type { Usage } from './program-usage.ts';
import { usageOf } from './program-usage.ts';
import type { Row } from './table.ts';
import { median } from './table.ts';

export const checkExpirationPrograms = ['kubeadm', 'nodecertd', 'empty Node program'];

/**
 * `certs check-expiration` beside kubeadm's own, on a tree that kubeadm made: without a connection,
 * with four endpoints that answer, and with four that accept connections and stay silent. kubeadm
 * connects only to the API server, and only without --config.
 */
export async function measureCheckExpiration(repetitions: number): Promise<Row[]> {
  const silent = await listening(createServer(drain));
  const port = portOf(silent);
  await using tree = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256' });
  const served = await listening(
    createTlsServer(
      {
        cert: readFileSync(join(tree.certificates, 'apiserver.crt')),
        key: readFileSync(join(tree.certificates, 'apiserver.key')),
      },
      drain,
    ),
  );
  using _ = { [Symbol.dispose]: () => [silent, served].forEach((server) => server.close()) };
  const place = ['certs', 'check-expiration', '--kubernetes-dir', tree.kubernetes];
  const theirs = ['certs', 'check-expiration', '--rootfs', tree.root];
  const ours = (...more: readonly string[]): Promise<Usage> =>
    usageOf(nodecertd, [...place, ...more], [0, 3, 4]);
  const kubeadm = (...more: readonly string[]): Promise<Usage> =>
    usageOf(kubeadmProgram(), [...theirs, ...more]);
  const withoutConnection = (): Promise<Usage> => kubeadm('--config', '/config.yaml');

  const rows = await compare('no connection', repetitions, [
    withoutConnection,
    () => ours('--no-dial'),
    empty,
  ]);
  writeManifests(tree, portOf(served));
  rows.push(
    ...(await compare('4 endpoints answer', repetitions, [withoutConnection, ours, empty])),
  );
  writeManifests(tree, port);
  // kubeadm reads the address of the API server from this kubeconfig.
  const admin = join(tree.kubernetes, 'admin.conf');
  const server = `server: https://127.0.0.1:${port}`;
  writeFileSync(admin, readFileSync(admin, 'utf8').replace(/server: .*/, server));
  rows.push(...(await compare('4 endpoints are silent', 1, [() => kubeadm(), ours, empty])));
  return rows;
}

/** The least that the runtime of the release takes. */
function empty(): Promise<Usage> {
  return usageOf(join(import.meta.dirname, '../../dist/lib/node'), ['-e', '0']);
}

async function compare(
  what: string,
  repetitions: number,
  programs: readonly (() => Promise<Usage>)[],
): Promise<Row[]> {
  const runs = programs.map((): Usage[] => []);
  for (let round = 0; round < repetitions; round += 1) {
    for (const [index, run] of programs.entries()) runs[index]?.push(await run());
  }
  const row = (label: string, pick: (usage: Usage) => number, digits: number): Row => ({
    label: `check-expiration, ${what}: ${label}`,
    values: runs.map((usages) => median(usages.map(pick))),
    digits,
  });
  return [
    row('wall time, s', ({ wallSeconds }) => wallSeconds, 2),
    row('CPU, s', ({ cpuSeconds }) => cpuSeconds, 3),
    row('peak RSS, MB', ({ peakMegabytes }) => peakMegabytes, 0),
  ];
}

/** Static pods whose endpoints are all at one port. */
function writeManifests({ kubernetes, certificates }: RealKubeadmTree, port: number): void {
  const manifests = join(kubernetes, 'manifests');
  mkdirSync(manifests, { recursive: true });
  const pair = [
    `--tls-cert-file=${certificates}/apiserver.crt`,
    `--tls-private-key-file=${certificates}/apiserver.key`,
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
  ];
  for (const name of ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler']) {
    const mounts = [{ name: 'pki', path: certificates, type: 'DirectoryOrCreate' }] as const;
    const manifest = pod({ name, command: [name, ...pair], mounts });
    writeFileSync(join(manifests, `${name}.yaml`), stringify(manifest));
  }
}

/** Otherwise the server never notices that a client has gone, and never ends. */
function drain(socket: Socket): void {
  socket.on('error', () => undefined).resume();
}

async function listening<T extends Server>(server: T): Promise<T> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
