import { execFile } from 'node:child_process';
import { copyFile, glob, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kubeadmDropIn, packagedUnit, writeFiles } from '../adopt/node-files.ts';
import type { NodeFiles } from '../adopt/node-files.ts';
import type { ContainerOptions } from './container-process.ts';
import { nodeLayer } from './container-root.ts';
import { kernelPreparation } from './kernel-settings.ts';
import { kubeadmProgram } from './kubeadm.ts';
import { imageStore, pauseReference } from './node-images.ts';
import { createNodeNetwork, podSubnet } from './node-network.ts';
import type { NetworkNamespace } from './node-network.ts';
import { Container } from './nspawn.ts';
import { controlPlaneDirectory, crictlProgram } from './programs.ts';

export interface NodePlace {
  readonly name: string;
  readonly role: 'control-plane' | 'worker';
  readonly address: string;
}

/** A machine of a kubeadm cluster: a container with a network of its own and containerd. */
export interface KubeadmNode extends NodePlace {
  readonly container: Container;
  readonly network: NetworkNamespace;
}

export interface NodeSurroundings {
  /** Where its files are: on the file system of the cache, and not on overlayfs. */
  readonly directory: string;
  readonly bridge: NetworkNamespace;
  /** The text of /etc/hosts. */
  readonly hosts: string;
  /** Folders and files of the host that the node may read, by their path on the node. */
  readonly mounts?: Readonly<Record<string, string>>;
}

/** Creates a node that is switched off, without what kubeadm creates. */
export async function createNode(
  place: NodePlace,
  surroundings: NodeSurroundings,
): Promise<KubeadmNode> {
  const network = await createNodeNetwork({ ...place, ...surroundings });
  try {
    return {
      ...place,
      network,
      container: await createMachine(place, { ...surroundings, network }),
    };
  } catch (error) {
    await network[Symbol.asyncDispose]();
    throw error;
  }
}

async function createMachine(
  place: NodePlace,
  { directory, network, hosts, mounts }: NodeSurroundings & { readonly network: NetworkNamespace },
): Promise<Container> {
  const container = await Container.create({
    ...nodeRuntime(network),
    hostName: place.name,
    parent: directory,
    mounts: { ...nodePrograms(), ...mounts },
  });
  await writeFiles(container.path('/'), { ...nodeFiles(place), 'etc/hosts': hosts });
  await takeImages(container.path(store));
  return container;
}

const store = '/var/lib/containerd';

/** containerd stacks its layers with overlayfs, which refuses to do that on overlayfs. */
export function nodeRuntime(network: NetworkNamespace): ContainerOptions {
  return {
    layers: [nodeLayer()],
    folders: [store, '/var/lib/kubelet', '/var/lib/etcd'],
    runtime: { network: network.pid },
  };
}

function nodePrograms(): Readonly<Record<string, string>> {
  const built = ['kubelet', 'kubectl', 'etcdctl'].map((name) => [
    `/usr/bin/${name}`,
    join(controlPlaneDirectory(), name),
  ]);
  return {
    ...Object.fromEntries(built),
    '/usr/bin/kubeadm': kubeadmProgram(),
    '/usr/bin/crictl': crictlProgram(),
  };
}

/** containerd only reads its layers, so links are enough; it writes its databases. */
async function takeImages(target: string): Promise<void> {
  await promisify(execFile)('cp', ['--archive', '--link', `${imageStore()}/.`, target]);
  for await (const database of glob(join(target, '*/*.db'))) {
    await copyFile(database, `${database}.copy`);
    await rename(`${database}.copy`, database);
  }
}

/**
 * systemd-nspawn mounts the hierarchies of version 1 read-only. They begin at the group of
 * the container, so that it can do no harm there.
 */
const groupsUnit = `[Unit]
DefaultDependencies=no
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for groups in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$$groups" || :; done'
${kernelPreparation.map((command) => `ExecStart=${command}`).join('\n')}
`;

/** Without CAP_SYS_RESOURCE, as in some CI, runc cannot lower an oom_score_adj. */
const containerdConfiguration = (): string => `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseReference()}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`;

const crictlConfiguration = `runtime-endpoint: unix:///run/containerd/containerd.sock
image-endpoint: unix:///run/containerd/containerd.sock
timeout: 10
`;

/** Pods reach the other pods of their node, and the addresses of the node itself. */
const podNetwork = (address: string): object => ({
  cniVersion: '0.4.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: podSubnet(address) }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
    { type: 'loopback' },
  ],
});

/** The network is set up from outside. systemd-networkd would wait for it forever. */
const masked = [
  'systemd-networkd.service',
  'systemd-networkd.socket',
  'systemd-networkd-wait-online.service',
];

function nodeFiles({ role, address }: NodePlace): NodeFiles {
  const units = 'etc/systemd/system';
  return {
    'etc/resolv.conf': '',
    'etc/containerd/config.toml': containerdConfiguration(),
    'etc/cni/net.d/10-pods.conflist': JSON.stringify(podNetwork(address)),
    'etc/crictl.yaml': crictlConfiguration,
    'usr/lib/systemd/system/kubelet.service': packagedUnit,
    'usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': kubeadmDropIn,
    [`${units}/multi-user.target.wants/kubelet.service`]: {
      link: '/usr/lib/systemd/system/kubelet.service',
    },
    [`${units}/node-preparation.service`]: groupsUnit,
    [`${units}/sysinit.target.wants/node-preparation.service`]: {
      link: '../node-preparation.service',
    },
    ...Object.fromEntries(masked.map((name) => [`${units}/${name}`, { link: '/dev/null' }])),
    ...(role === 'control-plane' && {
      'root/.kube/config': { link: '/etc/kubernetes/admin.conf' },
    }),
  };
}
