import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { NodeFiles } from '../adopt/node-files.ts';
import { writeFiles } from '../adopt/node-files.ts';
import type { ApiProber } from './api-prober.ts';
import { startProber } from './api-prober.ts';
import { RealKubeadmTree } from './kubeadm-tree.ts';
import { scaled } from './machine-speed.ts';
import { NetworkNamespace } from './node-network.ts';
import type { Ended } from './nspawn.ts';
import { Container } from './nspawn.ts';
import { controlPlaneDirectory } from './programs.ts';

/** In the order in which they start. */
export const unitNames = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
] as const;
type UnitName = (typeof unitNames)[number];

/** That of the API server in the configuration of RealKubeadmTree. */
const address = '192.0.2.1';
const programs = '/opt/kubernetes';
export const kubectlProgram = `${programs}/kubectl`;
export const adminKubeconfig = '/etc/kubernetes/admin.conf';
const repository = join(import.meta.dirname, '../..');

/**
 * A control plane whose components are services of systemd, with the certificates and flags of
 * kubeadm. It has no kubelet, no Node and no ConfigMaps of kubeadm, and a network of its own.
 */
export class UnitControlPlane implements AsyncDisposable {
  readonly container: Container;
  readonly #directory: string;
  readonly #network: NetworkNamespace;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    container: Container,
    {
      directory,
      network,
      resources,
    }: {
      readonly directory: string;
      readonly network: NetworkNamespace;
      readonly resources: AsyncDisposableStack;
    },
  ) {
    this.container = container;
    this.#directory = directory;
    this.#network = network;
    this.#resources = resources;
  }

  static async start(): Promise<UnitControlPlane> {
    await using resources = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-units-'));
    resources.defer(async () => rm(directory, { recursive: true }));
    const script = `ip link set lo up\nip address add ${address}/32 dev lo`;
    const network = await NetworkNamespace.create(script, { name: 'units', directory });
    resources.use(network);
    const container = await Container.create({
      hostName: 'cp1',
      runtime: { network: network.pid },
      folders: ['/var/lib/etcd'],
      mounts: { '/opt/repository': repository, [programs]: controlPlaneDirectory() },
    });
    resources.use(container);
    await installUnits(container);
    await container.start();
    await authorizeAdministrator(container);
    const kept = resources.move();
    return new UnitControlPlane(container, { directory, network, resources: kept });
  }

  async kubectl(...args: readonly string[]): Promise<string> {
    return this.container.must(kubectlProgram, `--kubeconfig=${adminKubeconfig}`, ...args);
  }

  async untilReady(): Promise<void> {
    const isReady = async (): Promise<true | undefined> => {
      const { code } = await this.container.run(
        kubectlProgram,
        `--kubeconfig=${adminKubeconfig}`,
        'get',
        '--raw=/readyz',
      );
      return code === 0 || undefined;
    };
    await this.container.until('the API server', isReady, scaled(120_000));
  }

  async nodecertd(...args: readonly string[]): Promise<Ended> {
    return this.container.run('nodecertd', ...args);
  }

  async mainPid(name: UnitName): Promise<string> {
    return this.container.property(`${name}.service`, 'MainPID');
  }

  /** Connects with the CA that the control plane has now, until it is stopped. */
  async probe(): Promise<ApiProber> {
    const caPem = await this.container.read('/etc/kubernetes/pki/ca.crt');
    return startProber({
      directory: this.#directory,
      network: this.#network,
      caPem,
      path: '/readyz',
      targets: [address],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/** As `kubeadm init` does. Waits until the API server answers. */
async function authorizeAdministrator(container: Container): Promise<void> {
  const group = 'kubeadm:cluster-admins';
  const binding = ['clusterrolebinding', group, '--clusterrole=cluster-admin', `--group=${group}`];
  const create = ['--kubeconfig=/etc/kubernetes/super-admin.conf', 'create', ...binding];
  const isCreated = async (): Promise<true | undefined> =>
    (await container.run(kubectlProgram, ...create)).code === 0 || undefined;
  await container.until('the API server', isCreated, scaled(120_000));
}

const systemUnits = 'usr/lib/systemd/system';

/** Writes the units and their files before the container boots. */
async function installUnits(container: Container): Promise<void> {
  await using tree = await RealKubeadmTree.create();
  await tree.kubeadm('init', 'phase', 'control-plane', 'all');
  await tree.kubeadm('init', 'phase', 'etcd', 'local');
  const files: Record<string, NodeFiles[string]> = {};
  for (const name of unitNames) {
    const manifest = join(tree.kubernetes, 'manifests', `${name}.yaml`);
    const unit = `${name}.service`;
    files[`${systemUnits}/${unit}`] = unitText(commandIn(await readFile(manifest, 'utf8')));
    files[`etc/systemd/system/multi-user.target.wants/${unit}`] = {
      link: `/${systemUnits}/${unit}`,
    };
  }
  await writeFiles(container.path('/'), files);
  const target = container.path('/etc/kubernetes');
  await cp(tree.kubernetes, target, { recursive: true, preserveTimestamps: true });
  await rm(join(target, 'manifests'), { recursive: true });
  await container.write('/usr/local/bin/nodecertd', nodecertd, 0o755);
}

const nodecertd = `#!/bin/sh
exec /opt/repository/node_modules/.bin/node /opt/repository/src/main.ts "$@"
`;

function commandIn(manifest: string): string {
  const pod = parse(manifest) as {
    readonly spec: { readonly containers: readonly { readonly command: readonly string[] }[] };
  };
  return pod.spec.containers[0]?.command.join(' ') ?? '';
}

/** With a variable and a continued line, as in units that people write. */
function unitText(command: string): string {
  return `[Service]
Environment=VERBOSITY=--v=2
ExecStart=${programs}/${command.replace(' ', ' \\\n  ')} \\
  $VERBOSITY
Restart=always
RestartSec=1
`;
}
