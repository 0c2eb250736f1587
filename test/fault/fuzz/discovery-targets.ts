import { createHash, createHmac, X509Certificate } from 'node:crypto';
import { parseCaPin } from '../../../src/core/ca-pin.ts';
import { second } from '../../../src/core/instant.ts';
import { discoveredAuthority } from '../../../src/discovery/authority.ts';
import { parseClusterInfo } from '../../../src/discovery/cluster-info.ts';
import { readClusterKubeconfig } from '../../../src/discovery/cluster-kubeconfig.ts';
import { discoverCluster } from '../../../src/discovery/discover-cluster.ts';
import { isSignedBy, signatureOf } from '../../../src/discovery/signature.ts';
import {
  requestFor,
  TestCluster,
  tokenOf,
  tokenText,
} from '../../discovery/support/test-cluster.ts';
import { clusterInfoText } from '../../support/discovery-plane.ts';
import { hastened } from '../../support/hastened-clock.ts';
import type { Corpus } from './corpus.ts';
import { jsonMutators } from './json.ts';
import { mutated } from './mutate.ts';
import type { FuzzTarget } from './target.ts';
import { BrokenPromise, requireThat } from './target.ts';
import { yamlWords } from './texts.ts';

/** Kubeconfigs of cluster-info: of kubeadm, with several CAs, and in JSON. */
export function clusterInfos({ authority, certificates }: Corpus): string[] {
  const pem = Buffer.from(authority).toString();
  const others = certificates.map((der) => new X509Certificate(der).toString());
  const server = 'https://10.0.0.1:6443';
  const cluster = { server, 'certificate-authority-data': Buffer.from(pem).toString('base64') };
  return [
    clusterInfoText({ server, caPem: pem }),
    clusterInfoText({ server: 'https://api.example.com/', caPem: [...others, pem].join('') }),
    JSON.stringify({ apiVersion: 'v1', kind: 'Config', clusters: [{ name: '', cluster }] }),
  ];
}

/** Whatever is damaged, cluster-info counts as signed only with its content and its signature intact. */
const clusterInfo: FuzzTarget = {
  name: 'cluster-info',
  module: import.meta.url,
  fault: 'damaged ConfigMaps with cluster-info, and their signatures',
  inputs: 60_000,
  generator: (corpus) => {
    const seeds = clusterInfos(corpus).map((kubeconfig) => {
      const signature = signatureOf(kubeconfig, tokenOf());
      const data = { kubeconfig, 'jws-kubeconfig-abcdef': signature, 'jws-kubeconfig-000000': 'x' };
      const metadata = { name: 'cluster-info', namespace: 'kube-public' };
      return Buffer.from(JSON.stringify({ kind: 'ConfigMap', apiVersion: 'v1', metadata, data }));
    });
    const words = [
      '..',
      '.',
      '=',
      'eyJhbGciOiJub25lIn0',
      'jws-kubeconfig-abcdef',
      '\\n',
      '\\u0000',
    ];
    return (random) =>
      mutated(random.chance(0.5) ? { seeds, own: jsonMutators } : { seeds, words }, random);
  },
  open: ({ corpus }) => {
    const signed = new Set(clusterInfos(corpus));
    const token = tokenOf();
    return {
      feed: (input) => {
        const info = parseClusterInfo(Buffer.from(input));
        if (info === undefined) return 'no ConfigMap';
        const { kubeconfig } = info;
        const signature = info.signatures.get(token.id);
        if (signature === undefined) return 'not signed';
        const isSigned = isSignedBy(token, { kubeconfig, signature });
        const expected = signed.has(kubeconfig) && signature === referenceOf(kubeconfig);
        requireThat(isSigned === expected, () => `${signature} counts as ${String(isSigned)}`);
        return isSigned ? 'signed' : 'wrong signature';
      },
    };
  },
};

/** By RFC 7515 5.1 and appendix F, for the token of the target. */
function referenceOf(payload: string): string {
  const header = Buffer.from('{"alg":"HS256","kid":"abcdef"}').toString('base64url');
  const signed = `${header}.${Buffer.from(payload).toString('base64url')}`;
  const secret = tokenText.slice('abcdef.'.length);
  return `${header}..${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** The hash of a CA key is that of OpenSSL, and a certificate that OpenSSL rejects is no CA. */
const clusterKubeconfig: FuzzTarget = {
  name: 'cluster-kubeconfig',
  module: import.meta.url,
  fault: 'damaged kubeconfigs and CAs in cluster-info',
  inputs: 30_000,
  generator: (corpus) => {
    const seeds = clusterInfos(corpus).map((text) => Buffer.from(text));
    return (random) => mutated({ seeds, words: yamlWords }, random);
  },
  open: ({ corpus }) => {
    const pin = pinOf(new X509Certificate(corpus.authority));
    const known = parseCaPin(pin ?? '');
    if (known === undefined) throw new BrokenPromise(`${pin} is refused`);
    return {
      feed: (input) => {
        const { server, certificates } = readClusterKubeconfig(Buffer.from(input).toString());
        requireThat(/^https:\/\/[^/]/.test(server), () => `the server is ${server}`);
        requireThat(certificates.length > 0, () => 'there is no certificate');
        const found = certificates.map((der) => discoveredAuthority(der, [known]));
        for (const authority of found) {
          if (authority === undefined) continue;
          const certificate = new X509Certificate(authority.der);
          requireThat(certificate.ca, () => 'OpenSSL does not accept it as a CA');
          const hash = pinOf(certificate) ?? authority.pin;
          requireThat(authority.pin === hash, () => 'OpenSSL has another hash');
          requireThat(authority.isPinned === (authority.pin === pin), () => 'pinned by mistake');
        }
        const isPinned = found.some((authority) => authority?.isPinned === true);
        return isPinned ? 'pinned' : found.includes(undefined) ? 'no CA' : 'not pinned';
      },
    };
  },
};

/** Undefined if OpenSSL does not know the kind of key, so that it issues nothing that is accepted. */
function pinOf(certificate: X509Certificate): string | undefined {
  try {
    const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
    return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
  } catch {
    return undefined;
  }
}

/** Below the timeout of a discovery, whose clock runs this much faster. */
const fast = 100;

/** Damage on the way never leads to a cluster, except if the damage does not matter. */
const discoveryHttp: FuzzTarget = {
  name: 'discovery-http',
  module: import.meta.url,
  fault: 'damaged HTTP responses to discover over TLS',
  inputs: 2_000,
  generator: () => {
    const seeds = ['200 OK', '429 Too Many', '503 Unavailable', '302 Found'].map((status) =>
      Buffer.from(`HTTP/1.1 ${status}\r\ncontent-type: application/json\r\nretry-after: 1\r\n\r\n`),
    );
    const words = [
      '\r\n',
      'content-length: 5\r\n',
      'transfer-encoding: chunked\r\n',
      'HTTP/2',
      '\0',
    ];
    return (random) => mutated({ seeds, words }, random);
  },
  open: async () => {
    const cluster = await TestCluster.start();
    let head: Uint8Array = Buffer.alloc(0);
    cluster.respond = (_, response) => {
      const { socket } = response;
      const body = clusterInfoBody(cluster);
      socket?.end(Buffer.concat([head, Buffer.from(body)]));
    };
    return {
      feed: async (input) => {
        head = input;
        const found = await discoverCluster(requestFor(cluster, { timeoutMs: 3 * second }), {
          clock: hastened(fast),
          signal: new AbortController().signal,
          version: '1',
          progress: () => undefined,
        });
        requireThat(found.verifiedBy === 'pin', () => `verified by ${found.verifiedBy}`);
        requireThat(found.server === cluster.api.url, () => `the server is ${found.server}`);
        return 'discovered';
      },
      close: () => cluster[Symbol.asyncDispose](),
    };
  },
};

function clusterInfoBody({ data }: TestCluster): string {
  const metadata = { name: 'cluster-info', namespace: 'kube-public' };
  return JSON.stringify({ kind: 'ConfigMap', apiVersion: 'v1', metadata, data });
}

export const targets: readonly FuzzTarget[] = [clusterInfo, clusterKubeconfig, discoveryHttp];
