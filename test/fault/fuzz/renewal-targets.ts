import type { KeyObject } from 'node:crypto';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { day, second } from '../../../src/core/instant.ts';
import type { PrivateKeyForm } from '../../../src/core/private-key-parts.ts';
import { hasPublicKeyOf } from '../../../src/core/private-key-parts.ts';
import { Secret } from '../../../src/core/secret.ts';
import { kubeconfigCertificate, withEmbedded } from '../../../src/kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../../src/kube/kubeconfig-document.ts';
import { readCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { textOf } from '../../../src/pki/renewal/existing-certificate.ts';
import { generateKey } from '../../../src/pki/renewal/key-file.ts';
import { requireEquivalent } from '../../../src/pki/renewal/proof.ts';
import { reissue, requireReissuable } from '../../../src/pki/renewal/reissue.ts';
import { withAnnotation } from '../../../src/pki/renewal/restart.ts';
import type { FileContent } from '../../../src/store/file-content.ts';
import { digestOf } from '../../../src/store/file-content.ts';
import { restorations } from '../../../src/store/run-folder.ts';
import { readManifest } from '../../../src/store/run-manifest.ts';
import { authorityOf, parsed } from '../../pki/renewal/openssl-authority.ts';
import { kubeconfigArbitrary, sampler } from './arbitraries.ts';
import { manifests } from './component-texts.ts';
import { derMutators } from './der.ts';
import { jsonMutators } from './json.ts';
import { mutated } from './mutate.ts';
import type { FuzzTarget } from './target.ts';
import { BrokenPromise, requireThat } from './target.ts';
import { kubeconfigs, yamlWords } from './texts.ts';

/** A certificate that can be parsed is renewed with the same names and extensions, or refused. */
const reissued: FuzzTarget = {
  name: 'reissue',
  module: import.meta.url,
  fault: 'damaged certificates to renew',
  inputs: 10_000,
  generator:
    ({ certificates: seeds }) =>
    (random) =>
      mutated({ seeds, own: derMutators }, random),
  open: async () => {
    const ca = authorityOf();
    const signer = { certificate: await parsed(ca), key: createPrivateKey(ca.key) };
    const key = await generateKey({ type: 'ec', curve: 'prime256v1' });
    const notBefore = Math.floor(Date.now() / second) * second;
    return {
      feed: async (input) => {
        const leaf = await readCertificate(Uint8Array.from(input));
        requireReissuable(leaf, 'a.crt');
        const request = { leaf, signer, key, notBefore, notAfter: notBefore + day };
        const renewed = await readCertificate(reissue(request));
        requireEquivalent(renewed, request);
        return 'ok';
      },
    };
  },
};

/** A kubeconfig that can be renewed has the new key afterwards, and no other change. */
const embedded: FuzzTarget = {
  name: 'kubeconfig-renewal',
  module: import.meta.url,
  fault: 'damaged kubeconfigs to renew',
  inputs: 30_000,
  generator: (corpus) => {
    const seeds = kubeconfigs(corpus);
    const sample = sampler(kubeconfigArbitrary);
    return (random) =>
      random.chance(0.3) ? sample(random) : mutated({ seeds, words: yamlWords }, random);
  },
  open: () => {
    const [certificate, key] = ['new certificate', 'new key'].map((text) => Buffer.from(text));
    return {
      feed: (input) => {
        const text = textOf('a.conf', contentOf(input));
        const document = new KubeconfigDocument('a.conf', text);
        const { source, authority } = kubeconfigCertificate(document);
        if (source.kind === 'files') return 'files';
        using edited = withEmbedded(document, text, {
          certificate: certificate ?? input,
          key: new Secret(Uint8Array.from(key ?? input)),
          ...(authority && { authority }),
        });
        const after = kubeconfigCertificate(
          new KubeconfigDocument('a.conf', Buffer.from(edited.expose()).toString()),
        );
        const found = after.source.kind === 'embedded' ? after.source.key.expose() : input;
        requireThat(Buffer.from(found).equals(key ?? input), () => 'the key is another one');
        requireThat(isDeepStrictEqual(after.authority, authority), () => 'the CAs differ');
        return 'ok';
      },
    };
  },
};

function contentOf(input: Uint8Array): FileContent {
  const bytes = Uint8Array.from(input);
  return { bytes, state: { sha256: digestOf(bytes), mode: '0600', uid: 0, gid: 0 } };
}

/** The comparison without OpenSSL accepts no key that OpenSSL assigns to another certificate. */
const keyBeside: FuzzTarget = {
  name: 'key-beside',
  module: import.meta.url,
  fault: 'damaged keys beside a certificate',
  inputs: 100_000,
  generator: ({ keys }) => {
    const seeds = keys.map(({ der }) => der);
    return (random) => mutated({ seeds, own: derMutators }, random);
  },
  open: ({ corpus }) => {
    const certificates = corpus.certificates.map((der) => new X509Certificate(der));
    return {
      feed: (input) => {
        for (const form of ['pkcs1', 'sec1', 'pkcs8'] as const) {
          const owner = certificates.find(({ raw }) => hasPublicKeyOf(raw, input, form));
          if (owner === undefined) continue;
          const key = keyOf(input, form);
          requireThat(key === undefined || owner.checkPrivateKey(key), () => 'OpenSSL disagrees');
          return key === undefined ? 'the public key alone' : 'ok';
        }
        return 'left to OpenSSL';
      },
    };
  },
};

function keyOf(der: Uint8Array, type: PrivateKeyForm): KeyObject | undefined {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type });
  } catch {
    return undefined;
  }
}

/** A manifest is read completely, or rejected with its path. */
const runManifest: FuzzTarget = {
  name: 'run-manifest',
  module: import.meta.url,
  fault: 'damaged manifests of earlier renewals',
  inputs: 30_000,
  generator: () => {
    const state = { sha256: '0'.repeat(64), mode: '0600', uid: 0, gid: 0 };
    const change = { path: '/etc/kubernetes/admin.conf', existed: true, after: state };
    const manifest = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'RenewalManifest',
      version: '0.1.0',
      sequence: 3,
      state: 'applying',
      startedAt: '2026-11-29T00:00:00.000Z',
      changes: [{ ...change, item: 'admin.conf', before: state, backup: 'files/admin.conf' }],
    };
    const seeds = [Buffer.from(JSON.stringify(manifest, undefined, 2))];
    return (random) => mutated({ seeds, own: jsonMutators }, random);
  },
  open: ({ directory }) => ({
    feed: async (input) => {
      writeFileSync(join(directory, 'manifest.json'), input);
      const manifest = await readManifest(directory);
      const paths = restorations([{ folder: directory, manifest: manifest ?? missing() }]);
      for (const { path, target } of paths) {
        requireThat(path.startsWith('/'), () => `it restores ${path}`);
        requireThat(
          target === undefined || target.backup.startsWith(`${directory}/`),
          () => `it reads ${target?.backup}`,
        );
      }
      return 'ok';
    },
  }),
};

function missing(): never {
  throw new BrokenPromise('there is no manifest');
}

/** A manifest with the annotation is as before in every other respect. */
const annotation: FuzzTarget = {
  name: 'restart-annotation',
  module: import.meta.url,
  fault: 'damaged manifests of static pods to restart',
  inputs: 30_000,
  generator: ({ token }) => {
    const words = [...yamlWords, 'metadata:', 'annotations:', '  annotations: {}', 'null'];
    return (random) => mutated({ seeds: manifests(token), words }, random);
  },
  open: () => ({
    feed: (input) => {
      const text = Buffer.from(input).toString();
      const edited = withAnnotation(text, 'now');
      if (edited === undefined) return 'refused';
      const [before, after] = [parse(text), parse(edited)] as [Annotated, Annotated];
      requireThat(
        after.metadata.annotations?.['nodecertd.io/restarted-at'] === 'now',
        () => 'the annotation is missing',
      );
      requireThat(
        withoutAnnotations(after) === withoutAnnotations(before),
        () => 'the manifest has another change',
      );
      return 'ok';
    },
  }),
};

interface Annotated {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> | null };
}

/** With an alias, one edit changes several places, and a value can contain itself. */
function withoutAnnotations(manifest: Annotated): string {
  const outer: unknown[] = [];
  return JSON.stringify(manifest, function (this: unknown, name, value: unknown) {
    if (name === 'annotations') return undefined;
    outer.splice(outer.indexOf(this) + 1);
    if (outer.includes(value)) return `level ${outer.indexOf(value)}`;
    if (typeof value === 'object' && value !== null) outer.push(value);
    return value;
  });
}

export const targets: readonly FuzzTarget[] = [
  reissued,
  embedded,
  keyBeside,
  runManifest,
  annotation,
];
