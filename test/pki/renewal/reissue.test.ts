import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import {
  altNames,
  extensionIds,
  extensionOf,
  writeSigned,
  writeToBeSigned,
} from '../../../src/core/certificate-parts.ts';
import { derTags, readDer, writeDer } from '../../../src/core/der.ts';
import { day, minute, second } from '../../../src/core/instant.ts';
import { encodePem } from '../../../src/core/pem.ts';
import type { ChainCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { readCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { generateKey, kindOf } from '../../../src/pki/renewal/key-file.ts';
import { requireEquivalent } from '../../../src/pki/renewal/proof.ts';
import type { ReissueRequest } from '../../../src/pki/renewal/reissue.ts';
import { reissue, requireReissuable } from '../../../src/pki/renewal/reissue.ts';
import { openssl } from '../../core/openssl.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { OpensslPair, OpensslRequest } from './openssl-authority.ts';
import {
  authorityOf,
  issueWithOpenssl,
  keyOptions,
  leafExtensions,
  parsed,
} from './openssl-authority.ts';

const ca = authorityOf();
const notBefore = Math.floor((Date.now() - 5 * minute) / second) * second;
const notAfter = notBefore + 365 * day;

interface Renewal extends ReissueRequest {
  readonly renewed: ChainCertificate;
}

async function renewalOf(
  leaf: ChainCertificate,
  signer: OpensslPair,
  until = notAfter,
): Promise<Renewal> {
  const request: ReissueRequest = {
    leaf,
    signer: { certificate: await parsed(signer), key: createPrivateKey(signer.key) },
    key: await generateKey(kindOf(createPrivateKey(signer.key))),
    notBefore,
    notAfter: until,
  };
  return { ...request, renewed: await readCertificate(reissue(request)) };
}

async function renew(request: Partial<OpensslRequest> = {}, signer = ca): Promise<Renewal> {
  const wanted = { subject: '/CN=kube-apiserver', extensions: leafExtensions, ...request };
  const leaf = await parsed(issueWithOpenssl({ ...wanted, signer }));
  const renewal = await renewalOf(leaf, signer);
  requireEquivalent(renewal.renewed, renewal);
  return renewal;
}

/** What `openssl verify` says about a certificate and the CAs above it. */
async function verify(
  context: TestContext,
  { renewed }: Renewal,
  [root, ...intermediates]: readonly OpensslPair[],
): Promise<string> {
  const directory = await temporaryDirectory(context);
  const file = (name: string, bytes: Uint8Array): string => {
    writeFileSync(join(directory, name), bytes);
    return join(directory, name);
  };
  const untrusted =
    intermediates.length === 0
      ? []
      : [
          '-untrusted',
          file('untrusted', Buffer.concat(intermediates.map(({ certificate }) => certificate))),
        ];
  const leaf = file('leaf', encodePem('CERTIFICATE', renewed.der));
  const strict = [
    '-x509_strict',
    '-check_ss_sig',
    '-CAfile',
    file('root', root?.certificate ?? Buffer.of()),
  ];
  return openssl(['verify', ...strict, ...untrusted, leaf])
    .replace(leaf, 'leaf')
    .trim();
}

/** The extensions with the identifiers of keys left out. */
function kept({ parts }: ChainCertificate): string[] {
  const identifiers: readonly string[] = [
    extensionIds.subjectKeyIdentifier,
    extensionIds.authorityKeyIdentifier,
  ];
  return parts.extensions
    .filter(({ oid }) => !identifiers.includes(oid))
    .map(({ encoded }) => encoded.toHex());
}

function oidsOf({ parts }: ChainCertificate): string[] {
  return parts.extensions.map(({ oid }) => oid);
}

function encodingIn({ parts }: ChainCertificate, oid: string): string | undefined {
  return extensionOf(parts, oid)?.encoded.toHex();
}

function namesIn({ parts }: ChainCertificate): string[] {
  const extension = extensionOf(parts, extensionIds.subjectAltName);
  return extension === undefined ? [] : altNames(extension).map((name) => name.toHex());
}

const leafWith = async (request: Partial<OpensslRequest>): Promise<ChainCertificate> =>
  parsed(
    issueWithOpenssl({
      subject: '/CN=kube-apiserver',
      extensions: leafExtensions,
      ...request,
      signer: ca,
    }),
  );

describe('reissue()', () => {
  for (const kind of Object.keys(keyOptions) as (keyof typeof keyOptions)[]) {
    if (kind === 'RSA 1024' || kind === 'RSA-PSS') continue;
    it(`signs with a CA of the kind ${kind}, and OpenSSL accepts the result`, async (context) => {
      const signer = authorityOf({ key: kind });
      const renewal = await renew({}, signer);
      assert.equal(await verify(context, renewal, [signer]), 'leaf: OK');
      assert.ok(renewal.renewed.openssl.checkPrivateKey(renewal.key));
    });
  }

  it('sets a positive 128-bit serial number and the requested validity', async () => {
    const { renewed } = await renew();
    assert.match(renewed.facts.serial, /^[89a-f][0-9a-f]{31}$/);
    assert.equal(renewed.parts.serial[0], 0);
    assert.deepEqual([renewed.facts.notBefore, renewed.facts.notAfter], [notBefore, notAfter]);
  });

  it('writes the end of 2049 as UTCTime and later times as GeneralizedTime', async (context) => {
    const signer = authorityOf({ days: 20_000 });
    const leaf = await parsed(
      issueWithOpenssl({ subject: '/CN=a', extensions: leafExtensions, signer }),
    );
    for (const end of [Date.UTC(2049, 11, 31, 23, 59, 59), Date.UTC(2050, 0, 1)]) {
      const renewal = await renewalOf(leaf, signer, end);
      assert.equal(renewal.renewed.facts.notAfter, end);
      assert.equal(await verify(context, renewal, [signer]), 'leaf: OK');
    }
  });

  const subjects = [
    ['of kubeadm', '/O=system:masters/CN=kubernetes-super-admin', 'MASK:0x2', 0x13],
    ['with OU, L and e-mail', '/C=DE/L=Köln/OU=y/CN=z/emailAddress=a@b.example', 'utf8only', 0x16],
    ['in UTF8String', '/CN=Zürich', 'utf8only', 0x0c],
    ['in BMPString', '/CN=Zürich', 'MASK:0x800', 0x1e],
    ['in T61String', '/O=Zürich/CN=z', 'MASK:0x4', 0x14],
    ['in PrintableString', '/CN=a b', 'MASK:0x2', 0x13],
    ['with a multi-valued RDN', '/O=x/CN=b+OU=a', 'utf8only', 0x31],
  ] as const;
  for (const [name, subject, strings, tag] of subjects) {
    it(`copies the bytes of a subject ${name}`, async (context) => {
      const renewal = await renew({ subject, strings });
      assert.deepEqual(renewal.renewed.parts.subject, renewal.leaf.parts.subject);
      assert.ok(renewal.leaf.parts.subject.includes(tag), 'the subject has no such string');
      assert.equal(await verify(context, renewal, [ca]), 'leaf: OK');
    });
  }

  it('copies an empty subject beside critical SANs', async (context) => {
    const extensions = [...leafExtensions.slice(0, 4), 'subjectAltName=critical,DNS:a'];
    const renewal = await renew({ subject: '/', extensions });
    assert.equal(renewal.renewed.parts.subject.toHex(), '3000');
    assert.equal(await verify(context, renewal, [ca]), 'leaf: OK');
  });

  it('copies a multi-valued RDN whose values are in an order that DER forbids', async (context) => {
    const model = await parsed(
      issueWithOpenssl({ subject: '/CN=b+OU=a', extensions: leafExtensions, signer: ca }),
    );
    const leaf = await readCertificate(withReversedName(model));
    assert.notDeepEqual(leaf.parts.subject, model.parts.subject);
    const renewal = await renewalOf(leaf, ca);
    requireEquivalent(renewal.renewed, renewal);
    assert.deepEqual(renewal.renewed.parts.subject, leaf.parts.subject);
    assert.equal(await verify(context, renewal, [ca]), 'leaf: OK');
  });

  const extensions = [
    ['keyUsage without key encipherment', ['keyUsage=digitalSignature']],
    ['no keyUsage', ['extendedKeyUsage=clientAuth']],
    [
      'both usages, not critical',
      ['keyUsage=digitalSignature', 'extendedKeyUsage=serverAuth,clientAuth'],
    ],
    [
      'e-mail and URI SANs in an odd order',
      [
        'subjectAltName=URI:spiffe://a/b,IP:::1,email:a@example.org,DNS:z,DNS:*.a.example,RID:1.2.3',
      ],
    ],
    ['a critical SAN', ['subjectAltName=critical,DNS:a']],
    ['a policy', ['certificatePolicies=1.2.3.4,2.23.140.1.2.1']],
    ['a critical policy', ['certificatePolicies=critical,1.2.3.4']],
    [
      'addresses of a revocation list and an OCSP responder',
      ['crlDistributionPoints=URI:http://a/crl', 'authorityInfoAccess=OCSP;URI:http://a/'],
    ],
    ['an extension of one company', ['1.3.6.1.4.1.99999.1=ASN1:UTF8String:x']],
    ['no extension at all', []],
  ] as const;
  for (const [name, lines] of extensions) {
    it(`copies ${name}`, async () => {
      const { leaf, renewed } = await renew({ extensions: lines });
      assert.deepEqual(kept(renewed), kept(leaf));
      assert.deepEqual(oidsOf(renewed), oidsOf(leaf));
    });
  }

  it('computes the key identifiers again, as OpenSSL does', async () => {
    const { leaf, renewed, key } = await renew({
      extensions: ['subjectKeyIdentifier=hash', 'authorityKeyIdentifier=keyid,issuer:always'],
    });
    const { authorityKeyIdentifier, subjectKeyIdentifier } = extensionIds;
    assert.equal(
      encodingIn(renewed, authorityKeyIdentifier),
      encodingIn(leaf, authorityKeyIdentifier),
    );
    assert.notEqual(
      encodingIn(renewed, subjectKeyIdentifier),
      encodingIn(leaf, subjectKeyIdentifier),
    );
    const again = issueWithOpenssl({
      subject: '/CN=a',
      extensions: ['subjectKeyIdentifier=hash'],
      keyPem: Buffer.from(key.export({ format: 'pem', type: 'pkcs8' })),
      signer: ca,
    });
    const expected = encodingIn(await parsed(again), subjectKeyIdentifier);
    assert.equal(encodingIn(renewed, subjectKeyIdentifier), expected);
  });

  it('removes only SANs that occur twice', async () => {
    const names = 'DNS:localhost,IP:127.0.0.1,DNS:cp1,IP:127.0.0.1,DNS:localhost,IP:::1';
    const { leaf, renewed } = await renew({ extensions: [`subjectAltName=critical,${names}`] });
    assert.equal(namesIn(leaf).length, 6);
    assert.deepEqual(namesIn(renewed), [...new Set(namesIn(leaf))]);
    assert.equal(extensionOf(renewed.parts, extensionIds.subjectAltName)?.critical, true);
  });

  it('satisfies name constraints and an intermediate CA', async (context) => {
    const root = authorityOf({ subject: '/CN=root' });
    const intermediate = authorityOf({
      subject: '/CN=intermediate',
      extensions: [
        'basicConstraints=critical,CA:TRUE,pathlen:0',
        'keyUsage=critical,keyCertSign',
        'subjectKeyIdentifier=hash',
        'authorityKeyIdentifier=keyid',
        'nameConstraints=critical,permitted;DNS:example.org',
      ],
      signer: root,
    });
    const request = {
      extensions: [...leafExtensions.slice(0, 4), 'subjectAltName=DNS:a.example.org'],
    };
    const renewal = await renew(request, intermediate);
    assert.equal(await verify(context, renewal, [root, intermediate]), 'leaf: OK');
  });
});

/** The certificate signed again, with the values of its first RDN in reverse order. */
function withReversedName({ parts, facts }: ChainCertificate): Uint8Array<ArrayBuffer> {
  const [name] = readDer(parts.subject);
  const [rdn] = readDer(name?.content ?? new Uint8Array());
  const values = readDer(rdn?.content ?? new Uint8Array()).map(({ encoded }) => encoded);
  const subject = writeDer(derTags.sequence, writeDer(0x31, ...values.toReversed()));
  const algorithm = Uint8Array.fromHex('300a06082a8648ce3d040302');
  const toBeSigned = writeToBeSigned({
    ...parts,
    ...facts,
    serial: parts.serial,
    issuer: parts.issuer,
    subject,
    algorithm,
    extensions: parts.extensions.map(({ encoded }) => encoded),
  });
  const signature = sign('sha256', toBeSigned, createPrivateKey(ca.key));
  return writeSigned(toBeSigned, { algorithm, signature });
}

describe('requireReissuable()', () => {
  it('refuses a critical extension that nodecertd does not know', async () => {
    const lines = [...leafExtensions, 'nameConstraints=critical,permitted;DNS:a'];
    const leaf = await parsed(
      issueWithOpenssl({ subject: '/CN=a', extensions: lines, signer: ca }),
    );
    assert.throws(() => requireReissuable(leaf, 'a.crt'), {
      code: 'CERT_UNTRUSTED',
      message: 'a.crt has the critical extension 2.5.29.30, which nodecertd does not know',
    });
  });

  it('refuses a CA', async () => {
    const leaf = await parsed(ca);
    assert.throws(() => requireReissuable(leaf, 'a.crt'), /^AgentError: a.crt is a CA \(CN=kubern/);
  });

  it('accepts a certificate as kubeadm makes it', async () => {
    const request = { subject: '/CN=a', extensions: leafExtensions, signer: ca };
    requireReissuable(await parsed(issueWithOpenssl(request)), 'a.crt');
  });
});

describe('requireEquivalent()', () => {
  const faults = [
    ['another key', 'it has another key', async ({ signer }) => ({ key: signer.key })],
    ['another end', 'it ends at another time', async () => ({ notAfter: notAfter + day })],
    ['another begin', 'it begins at another time', async () => ({ notBefore: notBefore - day })],
    [
      'another subject',
      'its subject differs',
      async () => ({ leaf: await leafWith({ subject: '/CN=b' }) }),
    ],
    [
      'other SANs',
      'its extensions differ',
      async () => ({ leaf: await leafWith({ extensions: ['subjectAltName=DNS:b'] }) }),
    ],
    [
      'another CA of the same name',
      'the CA did not sign it',
      async ({ signer }) => ({ signer: { ...signer, certificate: await parsed(authorityOf()) } }),
    ],
    [
      'the same serial number',
      'it has the same serial number',
      async ({ renewed }) => ({ leaf: renewed }),
    ],
  ] as const satisfies readonly (readonly [
    string,
    string,
    (renewal: Renewal) => Promise<Partial<ReissueRequest>>,
  ])[];
  for (const [name, message, change] of faults) {
    it(`refuses a certificate with ${name}`, async () => {
      const renewal = await renew();
      const other = { ...renewal, ...(await change(renewal)) };
      assert.throws(() => requireEquivalent(renewal.renewed, other), {
        code: 'INTERNAL',
        message: `the new certificate is wrong: ${message}`,
      });
    });
  }
});
