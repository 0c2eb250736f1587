import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { KubernetesDirectories } from '../../src/pki/layout.ts';
import { kubeadmProgram } from './kubeadm.ts';
import { kubernetesVersion } from './programs.ts';

const run = promisify(execFile);

export interface KubeadmOptions {
  /** As in ClusterConfiguration: `ECDSA-P256`, `RSA-2048` (the default) … */
  readonly algorithm?: string;
  /** The lifetime of the certificates: `8760h` (the default), `10m` … */
  readonly validity?: string;
}

const configuration = ({ algorithm = 'RSA-2048', validity = '8760h' }: KubeadmOptions): string =>
  `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: { advertiseAddress: 192.0.2.1 }
nodeRegistration: { name: cp1 }
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: ${kubernetesVersion()}
encryptionAlgorithm: ${algorithm}
certificateValidityPeriod: ${validity}
apiServer: { certSANs: [127.0.0.1] }
`;

/** A folder in which kubeadm made all certificates of a control-plane node. */
export class RealKubeadmTree implements KubernetesDirectories, AsyncDisposable {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static async create(options: KubeadmOptions = {}): Promise<RealKubeadmTree> {
    const tree = new RealKubeadmTree(await mkdtemp(join(tmpdir(), 'nodecertd-kubeadm-')));
    await writeFile(join(tree.root, 'config.yaml'), configuration(options));
    await tree.kubeadm('init', 'phase', 'certs', 'all');
    await tree.kubeadm('init', 'phase', 'kubeconfig', 'all');
    return tree;
  }

  get kubernetes(): string {
    return join(this.root, 'etc/kubernetes');
  }

  get certificates(): string {
    return join(this.kubernetes, 'pki');
  }

  async copy(): Promise<RealKubeadmTree> {
    const root = await mkdtemp(join(tmpdir(), 'nodecertd-kubeadm-'));
    await cp(this.root, root, { recursive: true, preserveTimestamps: true });
    return new RealKubeadmTree(root);
  }

  /** Returns the output of kubeadm in this tree. kubeadm changes its root directory, which needs root. */
  async kubeadm(...args: readonly string[]): Promise<string> {
    const all = [...args, '--rootfs', this.root, '--config', '/config.yaml'];
    return (await run(kubeadmProgram(), all)).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true });
  }
}
