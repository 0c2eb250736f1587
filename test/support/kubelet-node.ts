import { stringify } from 'yaml';
import { kubeadmDropIn, packagedUnit } from '../adopt/node-files.ts';
import { skipWithoutContainer } from './container-root.ts';
import { buildGoProgram } from './go-program.ts';
import { NodeWatch } from './node-watch.ts';
import { Container } from './nspawn.ts';
import { skipWithoutRealControlPlane } from './real-control-plane.ts';
import type { RealControlPlane } from './real-control-plane.ts';
import { kubeletProgram, skipWithoutRealKubelet } from './real-kubelet.ts';

const runtimeSocket = 'unix:///run/fake-runtime.sock';

export interface KubeletNodeOptions {
  readonly nodeName: string;
  /** Of its API, which no other node of this machine has at the same time. */
  readonly port: number;
  readonly controlPlane: RealControlPlane;
  /** What its configuration says otherwise. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Flags of its own, as in KUBELET_EXTRA_ARGS. */
  readonly flags?: string;
}

/** As kubeadm has it, but for a runtime that runs nothing, and a container instead of a machine. */
const kubeletConfiguration = (port: number): object => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  address: '127.0.0.1',
  port,
  healthzPort: 0,
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: '/etc/kubernetes/pki/ca.crt' },
  },
  authorization: { mode: 'Webhook' },
  containerRuntimeEndpoint: runtimeSocket,
  cgroupDriver: 'cgroupfs',
  cgroupsPerQOS: false,
  // Not an empty list: where there are drop-ins, the kubelet takes it for an absent one.
  enforceNodeAllocatable: ['none'],
  failCgroupV1: false,
  failSwapOn: false,
  localStorageCapacityIsolation: false,
  rotateCertificates: true,
  serverTLSBootstrap: true,
});

/** A kubelet wants the kernel's messages, to see what was killed for want of memory; the container has none. */
const runtimeUnit = `[Service]
ExecStartPre=/bin/ln --symbolic --force null /dev/kmsg
ExecStart=/usr/bin/fake-runtime ${runtimeSocket}

[Install]
RequiredBy=kubelet.service
`;

/** A container with all that a kubelet is started with on a node that kubeadm has joined; it is not started yet. */
export async function bootKubeletNode({
  nodeName,
  port,
  controlPlane,
  configuration,
  flags = '',
}: KubeletNodeOptions): Promise<Container> {
  const container = await Container.boot({
    hostName: nodeName,
    mounts: {
      '/usr/bin/kubelet': kubeletProgram(),
      '/usr/bin/fake-runtime': buildGoProgram('fake-runtime', './real/fake-runtime'),
    },
  });
  const files = {
    '/usr/lib/systemd/system/kubelet.service': packagedUnit,
    '/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf': kubeadmDropIn,
    '/etc/systemd/system/fake-runtime.service': runtimeUnit,
    '/var/lib/kubelet/config.yaml': stringify({ ...kubeletConfiguration(port), ...configuration }),
    '/etc/default/kubelet': `KUBELET_EXTRA_ARGS=${flags}\n`,
    '/etc/kubernetes/pki/ca.crt': controlPlane.caPem,
    '/etc/kubernetes/bootstrap-kubelet.conf': await controlPlane.bootstrapKubeconfig(),
  };
  for (const [path, text] of Object.entries(files)) await container.write(path, text, 0o600);
  await container.must('systemctl', 'daemon-reload');
  await container.must('systemctl', 'enable', '--now', 'fake-runtime.service');
  return container;
}

/** Until its kubelet has said that it can run Pods. */
export async function untilReady(
  container: Container,
  { nodeName, controlPlane }: Pick<KubeletNodeOptions, 'nodeName' | 'controlPlane'>,
): Promise<void> {
  await using node = new NodeWatch(controlPlane.admin, nodeName);
  await container.until('a Node that is Ready', async () => node.ready || undefined);
}

/** For the `skip` option of a test. @throws where nothing may be skipped */
export function skipWithoutKubeletNode(): string | false {
  return skipWithoutContainer() || skipWithoutRealControlPlane() || skipWithoutRealKubelet();
}
