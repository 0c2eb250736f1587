import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { Tree } from '../../src/sys/tree.ts';
import { temporaryDirectory } from '../store/pairs.ts';

/** The content of each path: a text, or a link. */
export type NodeFiles = Readonly<Record<string, string | { readonly link: string }>>;

/** A node with these files, in a temporary folder that is deleted after the test. */
export async function nodeTree(context: TestContext, files: NodeFiles): Promise<Tree> {
  const root = await temporaryDirectory(context);
  await writeFiles(root, files);
  return new Tree(root);
}

export async function writeFiles(root: string, files: NodeFiles): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const physical = join(root, path);
    await mkdir(dirname(physical), { recursive: true });
    if (typeof content === 'string') await writeFile(physical, content);
    else await symlink(content.link, physical);
  }
}

/** kubelet.service of the packages from pkgs.k8s.io. */
export const packagedUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`;

/** 10-kubeadm.conf of the Debian packages from pkgs.k8s.io. */
export const kubeadmDropIn = `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generates at runtime, populating the KUBELET_KUBEADM_ARGS variable dynamically
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# This is a file that the user can use for overrides of the kubelet args as a last resort. Preferably, the user should use
# the .NodeRegistration.KubeletExtraArgs object in the configuration files instead. KUBELET_EXTRA_ARGS should be sourced from this file.
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`;
