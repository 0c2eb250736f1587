import { stringify } from 'yaml';
import { kubeadmDropIn, packagedUnit } from '../adopt/node-files.ts';
import { skipWithoutContainer } from './container-root.ts';
import { goProgram, skipWithoutGoProgram } from './go-program.ts';
import { kernelPreparation } from './kernel-settings.ts';
import { NodeWatch } from './node-watch.ts';
import { Container } from './nspawn.ts';
import { skipWithoutRealControlPlane } from './real-control-plane.ts';
import type { RealControlPlane } from './real-control-plane.ts';
import { kubeletProgram, skipWithoutRealKubelet } from './real-kubelet.ts';

const runtimeSocket = 'unix:///run/fake-runtime.sock';

export interface KubeletNodeOptions {
  readonly nodeName: string;
  /** The port of the kubelet's API, which must differ between nodes that run at the same time. */
  readonly port: number;
  readonly controlPlane: RealControlPlane;
  /** Overrides keys of the KubeletConfiguration. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Additional flags, for KUBELET_EXTRA_ARGS. */
  readonly flags?: string;
}

/** kubeadm's configuration, adapted to a container and to a container runtime that runs nothing. */
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
  // With drop-ins, the kubelet treats an empty list as an absent one.
  enforceNodeAllocatable: ['none'],
  failCgroupV1: false,
  failSwapOn: false,
  localStorageCapacityIsolation: false,
  rotateCertificates: true,
  serverTLSBootstrap: true,
});

const runtimeUnit = `[Unit]
Before=kubelet.service

[Service]
${kernelPreparation.map((command) => `ExecStartPre=${command}`).join('\n')}
ExecStart=/usr/bin/fake-runtime ${runtimeSocket}

[Install]
RequiredBy=kubelet.service
`;

/**
 * Boots a container with the files of a node that kubeadm has joined. The kubelet is
 * not started.
 */
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
      '/usr/bin/fake-runtime': goProgram('fake-runtime'),
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

/** Waits until the Node is Ready. */
export async function untilReady(
  container: Container,
  { nodeName, controlPlane }: Pick<KubeletNodeOptions, 'nodeName' | 'controlPlane'>,
): Promise<void> {
  await using node = new NodeWatch(controlPlane.admin, nodeName);
  await container.until('a Node that is Ready', async () => node.ready || undefined);
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutKubeletNode(): string | false {
  return (
    skipWithoutContainer() ||
    skipWithoutRealControlPlane() ||
    skipWithoutRealKubelet() ||
    skipWithoutGoProgram('fake-runtime')
  );
}
