import { createHash, randomInt, X509Certificate } from 'node:crypto';
import type { Instant } from '../../src/core/instant.ts';
import { keyPairOf } from '../fault/api/proxied-node.ts';
import type { ClusterCa, KeyPair } from './cluster-pki.ts';
import { FaultProxy } from './fault-proxy.ts';
import type { TokenOptions } from './real-bootstrap.ts';
import { tokenObject, tokenPath } from './real-bootstrap.ts';
import type { RealControlPlane } from './real-control-plane.ts';
import { startRealControlPlane } from './real-control-plane.ts';
import { until } from './until.ts';

/** What cluster-info says about the cluster. */
export interface ClusterInfo {
  readonly server: string;
  /** The CAs of the cluster, as PEM. */
  readonly caPem: string;
}

const namespacePath = '/api/v1/namespaces/kube-public';
const rolePath = '/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public';
const roleName = 'kubeadm:bootstrap-signer-clusterinfo';
const signaturePrefix = 'jws-kubeconfig-';

/**
 * A real control plane that machines can discover: with a cluster-info ConfigMap as `kubeadm init`
 * writes it, which the bootstrap signer of kube-controller-manager signs for each bootstrap token.
 */
export class DiscoveryPlane implements AsyncDisposable {
  readonly plane: RealControlPlane;

  private constructor(plane: RealControlPlane) {
    this.plane = plane;
  }

  static async start(): Promise<DiscoveryPlane> {
    return DiscoveryPlane.of(await startRealControlPlane({ signingSeconds: 3_600 }));
  }

  /** Publishes cluster-info on a control plane that runs. */
  static async of(plane: RealControlPlane): Promise<DiscoveryPlane> {
    const discovery = new DiscoveryPlane(plane);
    await discovery.#publishFirst();
    return discovery;
  }

  /** The address and port of the API server. */
  get endpoint(): string {
    return new URL(this.plane.server).host;
  }

  /** The hash of the CA of the API server. */
  get pin(): string {
    return pinOf(this.plane.caPem);
  }

  /** Replaces the content of cluster-info: by default, with this API server and its CA. */
  async publish({ server, caPem }: ClusterInfo = this.plane): Promise<void> {
    await this.plane.admin.must({
      method: 'PUT',
      path: `${namespacePath}/configmaps/cluster-info`,
      body: configMap({ server, caPem }),
    });
  }

  /** Creates a bootstrap token with a random secret. */
  async createToken(options: TokenOptions = {}): Promise<string> {
    const token = `${randomText(6)}.${randomText(16)}`;
    const body = tokenObject(token, options);
    await this.plane.admin.must({ method: 'POST', path: tokenPath(), body });
    return token;
  }

  /** A token with which cluster-info is signed already. */
  async createSignedToken(options: TokenOptions = {}): Promise<string> {
    const token = await this.createToken(options);
    await this.untilSigned(token);
    return token;
  }

  /** Creates a token that expires at this moment, and waits until the token cleaner has deleted it. */
  async createExpiredToken(expiresAt: Instant): Promise<string> {
    const token = await this.createToken({ expiresAt });
    const path = tokenPath(idOf(token));
    await until('the end of the token', async () => {
      const { status } = await this.plane.admin.request({ method: 'GET', path });
      return status === 404;
    });
    await until(
      'the end of its signature',
      async () => !(idOf(token) in (await this.signatures())),
    );
    return token;
  }

  async deleteToken(token: string): Promise<void> {
    await this.plane.admin.must({ method: 'DELETE', path: tokenPath(idOf(token)) });
  }

  async untilSigned(token: string): Promise<string> {
    return until(`a signature for ${idOf(token)}`, async () => {
      return (await this.signatures())[idOf(token)];
    });
  }

  /** The kubeconfig in cluster-info. */
  async content(): Promise<string> {
    return (await this.#data())['kubeconfig'] ?? '';
  }

  /** The detached JWS of each token id. */
  async signatures(): Promise<Readonly<Record<string, string>>> {
    const entries = Object.entries(await this.#data());
    return Object.fromEntries(
      entries.flatMap(([name, value]) =>
        name.startsWith(signaturePrefix) ? [[name.slice(signaturePrefix.length), value]] : [],
      ),
    );
  }

  /** Lets anonymous users read cluster-info, as `kubeadm init` does, or stops doing so. */
  async setPublic(isPublic: boolean): Promise<void> {
    const path = `${rolePath}/rolebindings`;
    if (isPublic) await this.plane.admin.must({ method: 'POST', path, body: roleBinding });
    else await this.plane.admin.must({ method: 'DELETE', path: `${path}/${roleName}` });
  }

  /** Another address of the API server, with this certificate. It records and changes requests. */
  async startProxy(serving: KeyPair): Promise<FaultProxy> {
    const { server, caPem } = this.plane;
    return FaultProxy.start({
      server,
      caPem,
      admin: keyPairOf(await this.plane.adminKubeconfig()),
      clientCas: [],
      serving,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plane[Symbol.asyncDispose]();
  }

  async #publishFirst(): Promise<void> {
    const { admin } = this.plane;
    // The API server creates the namespace in the background.
    await admin.eventually(
      { method: 'POST', path: `${namespacePath}/configmaps`, body: configMap(this.plane) },
      AbortSignal.timeout(60_000),
    );
    await admin.must({ method: 'POST', path: `${rolePath}/roles`, body: role });
    await this.setPublic(true);
  }

  async #data(): Promise<Readonly<Record<string, string>>> {
    const path = `${namespacePath}/configmaps/cluster-info`;
    const found = (await this.plane.admin.must({ method: 'GET', path })) as {
      readonly data: Readonly<Record<string, string>>;
    };
    return found.data;
  }
}

/** The hash of the public key of a CA, as kubeadm prints it. */
export function pinOf(certificatePem: string): string {
  const { publicKey } = new X509Certificate(certificatePem);
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
}

/** The public part of a bootstrap token. */
export function idOf(token: string): string {
  return token.split('.')[0] ?? '';
}

/** A serving certificate for loopback. */
export async function servingOf(ca: ClusterCa): Promise<KeyPair> {
  return ca.issue({
    commonName: 'kube-apiserver',
    organizations: [],
    usage: 'server auth',
    altNames: [
      { type: 'ip', value: '127.0.0.1' },
      { type: 'dns', value: 'localhost' },
    ],
  });
}

/** The kubeconfig in cluster-info, byte for byte as `kubeadm init` writes it. */
export function clusterInfoText({ server, caPem }: ClusterInfo): string {
  return `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${Buffer.from(caPem).toString('base64')}
    server: ${server}
  name: ""
contexts: null
current-context: ""
kind: Config
users: null
`;
}

function configMap(info: ClusterInfo): object {
  return {
    metadata: { name: 'cluster-info', namespace: 'kube-public' },
    data: { kubeconfig: clusterInfoText(info) },
  };
}

const role = {
  metadata: { name: roleName },
  rules: [
    { apiGroups: [''], resources: ['configmaps'], resourceNames: ['cluster-info'], verbs: ['get'] },
  ],
};

const roleBinding = {
  metadata: { name: roleName },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: roleName },
  subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:anonymous' }],
};

function randomText(length: number): string {
  const characters = '0123456789abcdefghijklmnopqrstuvwxyz';
  return Array.from({ length }, () => characters.charAt(randomInt(characters.length))).join('');
}
