import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { TrustConfig } from '../../../src/core/config.ts';
import type { PlacesConfig } from '../../../src/trust/node/place-candidates.ts';
import type { FoundPlaces, PlacesRequest } from '../../../src/trust/node/places.ts';
import { findPlaces } from '../../../src/trust/node/places.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { trustDefaults } from '../../support/trust-defaults.ts';
import { fakeProc } from '../../sys/fake-proc.ts';

/** The files of a node in a temporary directory, which is the root of their paths. */
export interface NodeFiles {
  readonly root: string;
  readonly kubeconfig: string;
  /** The clientCAFile of the kubelet; kubeadm names it in kubelet.conf too. */
  readonly caFile: string;
  /** The configuration file of the kubelet. */
  readonly configFile: string;
  readonly manifests: string;
  readonly stateDirectory: string;
  readonly certificateDirectory: string;
  readonly network: string;
  /** Without any process or service. */
  readonly machine: Required<NonNullable<PlacesRequest['machine']>>;
  readonly config: (trust?: Partial<TrustConfig>) => PlacesConfig;
  readonly find: (trust?: Partial<TrustConfig>) => Promise<FoundPlaces>;
}

/** A worker without a running kubelet, whose kubelet.conf embeds the CAs. */
export async function makeNode(context: TestContext, pem: string): Promise<NodeFiles> {
  const root = await temporaryDirectory(context);
  await writeNodeFiles(root, pem);
  return nodeFilesAt(root);
}

export async function writeNodeFiles(
  root: string,
  pem: string,
  server = 'https://10.0.0.1:6443',
): Promise<void> {
  const { caFile, kubeconfig, manifests, machine, configFile } = nodeFilesAt(root);
  for (const folder of ['pki', 'manifests', 'kubelet', 'state', 'net.d', 'proc']) {
    await mkdir(join(root, folder));
  }
  await writeFile(caFile, pem);
  await writeFile(kubeconfig, kubeconfigText({ pem }, server), { mode: 0o600 });
  await writeFile(
    configFile,
    `staticPodPath: ${manifests}\nauthentication:\n  x509:\n    clientCAFile: ${caFile}\n`,
  );
  await fakeProc(join(root, 'proc'), {
    self: { cmdline: 'node\0', mounts: 'mnt:[1]', parent: 1, cgroup: '' },
  });
  await writeFile(machine.systemctl, '#!/bin/sh\necho LoadState=not-found\n', { mode: 0o755 });
}

export function nodeFilesAt(root: string): NodeFiles {
  const path = (name: string): string => join(root, name);
  const configFile = path('kubelet/config.yaml');
  const machine = {
    proc: path('proc'),
    systemctl: path('systemctl'),
    networkDirectory: path('net.d'),
  };
  const config = (trust: Partial<TrustConfig> = {}): PlacesConfig => ({
    kubeconfig: path('kubelet.conf'),
    bootstrapKubeconfig: path('bootstrap-kubelet.conf'),
    certificateDirectory: path('pki'),
    stateDirectory: path('state'),
    kubelet: { configFile, certificateDirectory: path('pki'), deferToKubelet: true },
    trust: { ...trustDefaults, ...trust },
  });
  return {
    root,
    kubeconfig: path('kubelet.conf'),
    caFile: path('pki/ca.crt'),
    configFile,
    manifests: path('manifests'),
    stateDirectory: path('state'),
    certificateDirectory: path('pki'),
    network: path('net.d'),
    machine,
    config,
    find: async (trust) => findPlaces({ config: config(trust), machine }),
  };
}

/** A kubeconfig with comments and an order of its own, which a change has to keep. */
export function kubeconfigText(
  authority: { readonly pem: string } | { readonly file: string },
  server = 'https://10.0.0.1:6443',
): string {
  const line =
    'pem' in authority
      ? `certificate-authority-data: ${Buffer.from(authority.pem).toString('base64')}`
      : `certificate-authority: ${authority.file}`;
  return `# written by hand
apiVersion: v1
kind: Config
clusters:
- name: other
  cluster: {server: 'https://10.9.9.9:6443', certificate-authority-data: YWJj}
- name: default-cluster
  cluster:
    ${line}
    server: ${server}   # the load balancer
contexts:
- {name: default-context, context: {cluster: default-cluster, user: default-auth}}
current-context: default-context
users:
- name: default-auth
  user: {token: secret-of-this-node}
`;
}
