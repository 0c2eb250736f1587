import { X509Certificate } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';

/** The places with a certificate from a CA; the certificate of the CA is one of them. */
export class Leftovers {
  readonly #authority: X509Certificate;

  constructor(authorityPem: string) {
    this.#authority = new X509Certificate(authorityPem);
  }

  /** Below /etc/kubernetes, and in the files that the kubelet uses. */
  async onNode({ name, container }: KubeadmNode): Promise<string[]> {
    const kept = '/etc/kubernetes';
    const entries = await readdir(container.path(kept), { recursive: true, withFileTypes: true });
    const root = container.path('/');
    const files = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join('/', join(entry.parentPath, entry.name).slice(root.length)));
    const found: string[] = [];
    for (const path of [...files, ...kubeletFiles]) {
      // The current pair of a kubelet is a link, whose target is a path in the container.
      const { stdout } = await container.run('cat', path);
      if (this.#isIn(stdout)) found.push(`${name}: ${path}`);
    }
    return found;
  }

  /** In the answers of the API servers, and in what they serve. */
  async inCluster(cluster: KubeadmCluster): Promise<string[]> {
    const found: string[] = [];
    for (const kind of kinds) {
      const list = ['get', kind, '--all-namespaces', '--output=json'];
      const { items } = JSON.parse(await cluster.kubectl(...list)) as ObjectList;
      const names = items
        .filter((item) => this.#isIn(JSON.stringify(item).replaceAll('\\n', '\n')))
        .map(({ metadata: { namespace = '', name } }) => `${kind} ${namespace}/${name}`);
      found.push(...names);
    }
    for (const { name, address, container } of cluster.controlPlanes) {
      for (const port of servingPorts) {
        // etcd rejects a client without a certificate after it has shown its own.
        const show = `openssl s_client -connect ${address}:${port} -showcerts < /dev/null`;
        const { stdout } = await container.run('bash', '-c', show);
        if (!stdout.includes('BEGIN CERTIFICATE')) throw new Error(`${name} serves no certificate`);
        if (this.#isIn(stdout)) found.push(`served by ${name} on ${port}`);
      }
    }
    return found;
  }

  #isIn(text: string): boolean {
    const isFrom = (pem: string): boolean =>
      new X509Certificate(pem).verify(this.#authority.publicKey);
    if ((text.match(certificatePattern) ?? []).some(isFrom)) return true;
    // A kubeconfig has certificates in base64, and a Secret has kubeconfigs in base64.
    const decoded = (text.match(embeddedPattern) ?? []).map((data) =>
      Buffer.from(data, 'base64').toString(),
    );
    return decoded.some((part) => this.#isIn(part));
  }
}

const kinds = [
  'configmaps',
  'secrets',
  'clustertrustbundles',
  'apiservices',
  'validatingwebhookconfigurations',
  'mutatingwebhookconfigurations',
  'customresourcedefinitions',
];

/** Of kube-apiserver, and of etcd for clients and for peers. */
const servingPorts = [6443, 2379, 2380];

const pki = '/var/lib/kubelet/pki';
const kubeletFiles = ['cluster-ca.crt', 'kubelet-client-current.pem', 'kubelet.crt'].map((name) =>
  join(pki, name),
);

const certificatePattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** Longer than a line of a PEM file. */
const embeddedPattern = /[\w+/]{200,}={0,2}/g;

interface ObjectList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly namespace?: string };
  }[];
}
