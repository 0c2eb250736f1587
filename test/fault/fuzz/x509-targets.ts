import { X509Certificate } from 'node:crypto';
import { approverVerdict, ownServingVerdict, signerVerdict } from '../../sandbox/csr-policy.ts';
import type { CertificateFacts } from '../../../src/core/certificate.ts';
import { issuedVerdict, mismatchOf } from '../../../src/core/identity.ts';
import { encodePem, parsePem } from '../../../src/core/pem.ts';
import { Secret } from '../../../src/core/secret.ts';
import { parseCertificate, parseCertificateRequest } from '../../../src/core/x509.ts';
import { checkIssued } from '../../../src/enroller/issued-certificate.ts';
import { hasSameIssuerKey } from '../../../src/enroller/issuer-key.ts';
import { parsePair } from '../../../src/store/pair-file.ts';
import { clientTemplate, servingTemplate, start } from '../../core/fixtures.ts';
import type { Corpus } from './corpus.ts';
import { derMutators } from './der.ts';
import { mutated } from './mutate.ts';
import type { Random } from './random.ts';
import { requireAgreement } from './second-opinion.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';

const pemWords = [
  '-----BEGIN CERTIFICATE-----\n',
  '-----END CERTIFICATE-----\n',
  '-----BEGIN EC PRIVATE KEY-----\n',
  '-----BEGIN ',
  '-----',
  'Proc-Type: 4,ENCRYPTED\n',
  '====',
  '\r\n',
  '\n\n',
];

const pem: FuzzTarget = {
  name: 'pem',
  module: import.meta.url,
  fault: 'damaged PEM',
  inputs: 300_000,
  generator: ({ pairs, chain }) => {
    const seeds = [...pairs, chain];
    return (random) => mutated({ seeds, words: pemWords }, random);
  },
  open: () => ({ feed: readPem }),
};

/**
 * OpenSSL must read an accepted certificate in the same way, and so must our parser
 * after it was written again.
 */
function readPem(input: Uint8Array): string {
  const blocks = parsePem(input);
  for (const { label, der } of blocks) {
    const [again] = parsePem(encodePem(label, der));
    requireThat(
      Buffer.from(again?.der ?? []).equals(der),
      () => `${label} is not what was written`,
    );
  }
  const [first] = blocks;
  // OpenSSL accepts a block after other text on the same line. Go and nodecertd do not.
  const begins = Buffer.from(input).toString('latin1').split('-----BEGIN ').length - 1;
  if (first?.label !== 'CERTIFICATE' || begins !== blocks.length) return 'ok';
  const theirs = opensslReads(input);
  if (theirs === undefined) return 'ok except for OpenSSL';
  // OpenSSL writes its own form, so both texts are written by OpenSSL first.
  requireThat(
    opensslReads(first.der)?.equals(theirs) === true,
    () => 'OpenSSL reads another certificate',
  );
  return 'ok';
}

function opensslReads(input: Uint8Array): Buffer | undefined {
  try {
    return new X509Certificate(input).raw;
  } catch {
    return undefined;
  }
}

const certificate: FuzzTarget = {
  name: 'certificate',
  module: import.meta.url,
  fault: 'damaged certificates (DER)',
  inputs: 40_000,
  generator:
    ({ certificates: seeds }) =>
    (random) =>
      mutated({ seeds, own: derMutators }, random),
  open: () => ({
    feed: async (input) => {
      const { facts } = await parseCertificate(Uint8Array.from(input));
      judgeFacts(facts);
      return requireAgreement(input, facts) ? 'ok' : 'ok except for OpenSSL';
    },
  }),
};

/** Calls everything that uses the facts of a certificate. */
function judgeFacts(facts: CertificateFacts): void {
  requireThat(/^[0-9a-f]*$/.test(facts.serial), () => `serial ${facts.serial}`);
  for (const moment of [facts.notBefore, facts.notAfter]) {
    requireThat(Math.abs(moment) <= 8.64e15, () => `a date that is none: ${moment}`);
  }
  for (const template of [clientTemplate, servingTemplate]) {
    issuedVerdict(template, facts, start);
    mismatchOf(template, facts);
  }
  requireThat(
    JSON.stringify(JSON.parse(JSON.stringify(facts))) === JSON.stringify(facts),
    () => 'not JSON',
  );
}

const request: FuzzTarget = {
  name: 'request',
  module: import.meta.url,
  fault: 'damaged certificate requests (DER)',
  inputs: 40_000,
  generator:
    ({ requests: seeds }) =>
    (random) =>
      mutated({ seeds, own: derMutators }, random),
  open: () => ({
    feed: async (input) => {
      const request = await parseCertificateRequest(Uint8Array.from(input));
      const { username, usages } = {
        username: 'system:node:worker-1',
        usages: clientTemplate.usages,
      };
      const csr = { ...clientTemplate, username, usages, groups: ['system:nodes'], request };
      const verdict = approverVerdict(csr);
      signerVerdict(csr);
      ownServingVerdict(csr);
      return verdict.ok ? 'ok' : `refused ${verdict.reason}`;
    },
  }),
};

const pair: FuzzTarget = {
  name: 'pair',
  module: import.meta.url,
  fault: 'damaged pairs: certificate and key (PEM, DER)',
  inputs: 30_000,
  generator: pairGenerator,
  open: () => ({
    feed: async (input) => {
      await parsePair(new Secret(Uint8Array.from(input)), '/pki/kubelet-client-current.pem');
      return 'ok';
    },
  }),
};

/**
 * Damages half of the inputs as text and half inside one block, because damage to
 * base64 would hide other damage.
 */
export function pairGenerator({ pairs, keys }: Corpus): (random: Random) => Uint8Array {
  const blocks = pairs.map((pair) => parsePem(pair));
  return (random) => {
    if (random.chance(0.3)) return mutated({ seeds: pairs, words: pemWords }, random);
    const parts = random.pick(blocks).map(({ label, der }) => ({ label, der: der as Uint8Array }));
    const part = random.pick(parts);
    if (random.chance(0.2) && part.label !== 'CERTIFICATE') Object.assign(part, random.pick(keys));
    part.der = mutated(
      { seeds: [part.der, ...keys.map(({ der }) => der)], own: derMutators },
      random,
    );
    return Buffer.concat(parts.map(({ label, der }) => encodePem(label, der)));
  };
}

const issued: FuzzTarget = {
  name: 'issued',
  module: import.meta.url,
  fault: 'damaged chains from the signer',
  inputs: 15_000,
  generator: ({ chain }) => {
    const blocks = parsePem(chain).map(({ der }) => der as Uint8Array);
    return (random) => {
      if (random.chance(0.3)) return mutated({ seeds: [chain], words: pemWords }, random);
      const parts = [...blocks];
      const at = random.below(parts.length);
      parts[at] = mutated({ seeds: blocks, own: derMutators }, random);
      return Buffer.concat(parts.map((der) => encodePem('CERTIFICATE', der)));
    };
  },
  open: async ({ corpus }) => {
    const [leaf] = parsePem(corpus.chain);
    const { publicKey } = await parseCertificate(leaf?.der ?? new Uint8Array());
    const now = Date.now();
    // The value of the valid chain, so that only the damage can cause an error.
    const subject = { ...clientTemplate.subject, organizations: [] };
    const template = { ...clientTemplate, subject };
    return {
      feed: async (pem) => {
        const chain = await checkIssued({ pem, template, publicKey, now });
        const keys = { previous: corpus.chain, issued: chain.pem, authorities: corpus.authority };
        return hasSameIssuerKey(keys) ? 'ok' : 'ok from elsewhere';
      },
    };
  },
};

export const targets: readonly FuzzTarget[] = [pem, certificate, request, pair, issued];
