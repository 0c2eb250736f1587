import { X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { createSecureContext } from 'node:tls';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import {
  formatControlPlaneAnnotation,
  parseControlPlaneAnnotation,
} from '../../../src/core/control-plane-annotation.ts';
import { AgentError } from '../../../src/core/errors.ts';
import { encodeCertificates, encodePem } from '../../../src/core/pem.ts';
import type { TrustAnnotation } from '../../../src/core/trust-annotation.ts';
import { formatTrustAnnotation, parseTrustAnnotation } from '../../../src/core/trust-annotation.ts';
import { isSameBundle, missingFrom, unionOf } from '../../../src/core/trust-bundle.ts';
import type { TrustAuthority } from '../../../src/core/trust.ts';
import { readClusterAuthorities } from '../../../src/discovery/cluster-kubeconfig.ts';
import { readAuthorities } from '../../../src/kube/authorities.ts';
import { checkBundle, mostAuthorities } from '../../../src/trust/node/bundle-check.ts';
import { issuerOf } from '../../../src/trust/node/issuer.ts';
import { readSources } from '../../../src/trust/node/sources.ts';
import { accessTo, ApiServer } from '../../kube/support/api-server.ts';
import { hastened } from '../../support/hastened-clock.ts';
import type { Corpus } from './corpus.ts';
import { derMutators } from './der.ts';
import { clusterInfos } from './discovery-targets.ts';
import { jsonMutators } from './json.ts';
import { judge } from './judge.ts';
import { mutated } from './mutate.ts';
import { secretsOf } from './secrets.ts';
import type { FuzzTarget } from './target.ts';
import { BrokenPromise, requireThat } from './target.ts';
import { yamlWords } from './texts.ts';

const source = { kind: 'file', name: '/etc/kubernetes/ca-bundle.crt' } as const;

/** Reads a bundle, and requires what the rest of the program relies on. */
function bundleReader(corpus: Corpus): (pem: Uint8Array) => string {
  const secrets = secretsOf(corpus);
  const held = readAuthorities(corpus.authority).authorities;
  return (input) => {
    const pem = Uint8Array.from(input);
    const seen = readAuthorities(pem).authorities;
    const verdict = checkBundle(pem, { source, held, pins: [], now: Date.now() });
    if (verdict.kind === 'accepted') {
      requireSound(verdict.authorities, seen);
      requireUnion(held, verdict.authorities);
      issuerOf(corpus.chain, verdict.authorities);
      return 'accepted';
    }
    const { code, reason, message, remedy = '' } = verdict.refusal;
    const judgment = judge(new AgentError(code, message, { remedy }), secrets);
    if ('complaint' in judgment) throw new BrokenPromise(judgment.complaint);
    const isWiped = pem.every((byte) => byte === 0);
    requireThat(reason !== 'private-key' || isWiped, () => 'a private key is still in memory');
    return reason;
  };
}

function requireSound(accepted: readonly TrustAuthority[], seen: readonly TrustAuthority[]): void {
  const { length } = accepted;
  requireThat(length > 0 && length <= mostAuthorities, () => `${length} CAs`);
  // A program that reads the file leaves out nothing that was checked, and adds nothing.
  requireThat(isDeepStrictEqual(accepted, seen), () => 'a lax reader finds other CAs');
  for (const { der } of accepted) {
    requireThat(new X509Certificate(der).ca, () => 'OpenSSL does not accept it as a CA');
  }
  const pem = encodeCertificates(accepted);
  createSecureContext({ ca: Buffer.from(pem) });
  const again = checkBundle(pem, { source, held: accepted, pins: [], now: Date.now() });
  requireThat(again.kind === 'accepted', () => 'what was written is refused');
}

function requireUnion(held: readonly TrustAuthority[], wanted: readonly TrustAuthority[]): void {
  const union = unionOf(held, wanted);
  requireThat(missingFrom(union, [...held, ...wanted]).length === 0, () => 'a CA got lost');
  requireThat(isSameBundle(unionOf(union, wanted), union), () => 'another write would follow');
}

const pemWords = [
  '-----',
  '-----BEGIN CERTIFICATE-----\n',
  '-----BEGIN ',
  '\0',
  '\r',
  '\n\n',
  '# CA\n',
];

const bundle: FuzzTarget = {
  name: 'trust-bundle',
  module: import.meta.url,
  fault: 'damaged bundles of CAs, some with a private key (PEM, DER)',
  inputs: 60_000,
  generator: ({ authority, certificates, chain, keys }) => {
    const whole = Buffer.concat(certificates.map((der) => encodePem('CERTIFICATE', der)));
    const seeds = [authority, Buffer.concat([authority, whole]), chain];
    const own = readAuthorities(Buffer.concat([authority, whole])).authorities.map(
      ({ der }) => der,
    );
    return (random) => {
      if (random.chance(0.1)) {
        const { label, der } = random.pick(keys);
        return Buffer.concat([authority, encodePem(label, der)]);
      }
      if (random.chance(0.5)) return mutated({ seeds, words: pemWords }, random);
      const der = mutated({ seeds: own, own: derMutators }, random);
      return Buffer.concat([authority, encodePem('CERTIFICATE', der)]);
    };
  },
  open: ({ corpus }) => ({ feed: bundleReader(corpus) }),
};

const clusterInfo: FuzzTarget = {
  name: 'trust-cluster-info',
  module: import.meta.url,
  fault: 'damaged kubeconfigs in cluster-info, as a source of CAs',
  inputs: 30_000,
  generator: (corpus) => {
    const seeds = clusterInfos(corpus).map((text) => Buffer.from(text));
    return (random) => mutated({ seeds, words: yamlWords }, random);
  },
  open: ({ corpus }) => {
    const read = bundleReader(corpus);
    return { feed: (input) => read(readClusterAuthorities(Buffer.from(input).toString())) };
  },
};

const [old, next] = ['0123456789abcdef', 'fedcba9876543210'];

const annotations: readonly TrustAnnotation[] = [
  {
    stage: 'union',
    places: { kubeconfig: [old, next], clientCa: [next] },
    leaf: { 'kubelet-client': old, 'kubelet-server': '' },
    readers: 'pending',
    unread: [next],
    reportedAt: Date.UTC(2026, 10, 29, 12),
  },
  {
    stage: 'single',
    places: { kubeconfig: [old], clientCa: [] },
    leaf: {},
    readers: 'ok',
    reportedAt: 0,
  },
];

const annotationWords = [
  '__proto__',
  '"v":1',
  '1e999',
  '-1',
  '0.5',
  '[]',
  '2026-11-29T12:00:00Z',
  '\\u0000',
];

function mutatedAnnotations(texts: readonly string[]): ReturnType<FuzzTarget['generator']> {
  const seeds = texts.map((text) => Buffer.from(text));
  return (random) => {
    const how = random.chance(0.5) ? { own: jsonMutators } : { words: annotationWords };
    return mutated({ seeds, ...how }, random);
  };
}

/** Every program with the rights of the node can write the annotation, and an administrator's command reads it. */
const annotation: FuzzTarget = {
  name: 'trust-annotation',
  module: import.meta.url,
  fault: 'damaged annotations with the trust of a node',
  inputs: 100_000,
  generator: () => mutatedAnnotations(annotations.map(formatTrustAnnotation)),
  open: () => ({
    feed: (input) => {
      const parsed = parseTrustAnnotation(Buffer.from(input).toString());
      if (parsed === undefined) return 'refused';
      const again = parseTrustAnnotation(formatTrustAnnotation(parsed));
      requireThat(isDeepStrictEqual(parsed, again), () => `${JSON.stringify(parsed)} changes`);
      return parsed.stage;
    },
  }),
};

const controlPlanes: readonly ControlPlaneAnnotation[] = [
  {
    authorities: [old, next],
    next,
    signer: old,
    leaves: {
      apiserver: { issuer: next, fingerprint: old },
      'admin.conf': { issuer: '', fingerprint: '' },
    },
    kubeletClientChangedAt: 0,
    kubeletAuthority: { authorities: [next], changedAt: Date.UTC(2026, 10, 29, 12) },
    etcdAuthorities: 1,
    frontProxyAuthorities: 2,
    startedAt: { 'kube-apiserver': 0, 'kube-controller-manager': 1_000 },
    reportedAt: Date.UTC(2026, 10, 29, 12),
  },
  { authorities: [], signer: '', leaves: {}, startedAt: {}, reportedAt: 0 },
];

const controlPlane: FuzzTarget = {
  name: 'control-plane-annotation',
  module: import.meta.url,
  fault: 'damaged annotations with the CAs of a control-plane node',
  inputs: 100_000,
  generator: () => mutatedAnnotations(controlPlanes.map(formatControlPlaneAnnotation)),
  open: () => ({
    feed: (input) => {
      const parsed = parseControlPlaneAnnotation(Buffer.from(input).toString());
      if (parsed === undefined) return 'refused';
      const again = parseControlPlaneAnnotation(formatControlPlaneAnnotation(parsed));
      requireThat(isDeepStrictEqual(parsed, again), () => `${JSON.stringify(parsed)} changes`);
      return parsed.signer === undefined ? 'without a signer' : 'with a signer';
    },
  }),
};

/** The clock of the client runs so much faster, because a server that stops is given up after ten seconds. */
const fast = 100;

const http: FuzzTarget = {
  name: 'trust-http',
  module: import.meta.url,
  fault: 'damaged HTTP responses to the search for CAs over TLS',
  inputs: 2_000,
  generator: () => {
    const seeds = ['200 OK', '403 Forbidden', '404 Not Found', '500 Error'].map((status) =>
      Buffer.from(`HTTP/1.1 ${status}\r\ncontent-type: application/json\r\n\r\n`),
    );
    const words = ['\r\n', 'content-length: 5\r\n', 'transfer-encoding: chunked\r\n', '\0'];
    return (random) => mutated({ seeds, words }, random);
  },
  open: async ({ corpus }) => {
    let head: Uint8Array = Buffer.alloc(0);
    const body = bundleList(Buffer.from(corpus.authority).toString());
    const server = await ApiServer.start((_, response) => {
      response.socket?.end(Buffer.concat([head, Buffer.from(body)]));
    });
    const access = await accessTo(server);
    return {
      feed: async (input) => {
        head = input;
        const search = { access, version: '1', clock: hastened(fast) };
        const [bundles, info] = await readSources({ ...search, signal: never });
        requireThat(info?.outcome !== 'read', () => 'a list of bundles counts as cluster-info');
        return bundles?.outcome ?? 'none';
      },
      close: async () => {
        access[Symbol.dispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  },
};

const { signal: never } = new AbortController();

function bundleList(trustBundle: string): string {
  const spec = { signerName: 'kubernetes.io/kube-apiserver-serving', trustBundle };
  return JSON.stringify({ metadata: {}, items: [{ metadata: { name: 'root' }, spec }] });
}

export const targets: readonly FuzzTarget[] = [bundle, clusterInfo, annotation, controlPlane, http];
