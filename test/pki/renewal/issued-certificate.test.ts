import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import { encodePem } from '../../../src/core/pem.ts';
import { derOf } from '../../core/openssl.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import type { ExternalTree } from './external-tree.ts';
import {
  exportFor,
  externalTree,
  filesOf,
  importInto,
  intermediateOf,
  pendingKey,
  planOf,
  sign,
} from './external-tree.ts';
import type { OpensslPair } from './openssl-authority.ts';
import { authorityOf, caExtensions, issueWithOpenssl } from './openssl-authority.ts';
import { sharedTree, requestFor } from './renewal-tree.ts';

const model = sharedTree();

interface Case {
  readonly what: string;
  readonly code: string;
  readonly message: RegExp;
  readonly certificate: (signing: Signing) => string;
  /** Days from now at which the certificate is imported. */
  readonly at?: number;
}

interface Signing {
  readonly tree: ExternalTree;
  readonly csr: string;
  /** The certificate for the pending key in every respect, except for these. */
  readonly issue: (changes: Partial<Parameters<typeof issueWithOpenssl>[0]>) => string;
}

const right = [
  'keyUsage=critical,digitalSignature,keyEncipherment',
  'extendedKeyUsage=serverAuth',
  'subjectAltName=DNS:cp1,DNS:kubernetes,DNS:kubernetes.default.svc,IP:10.96.0.1,IP:10.99.0.11',
];
const differently = (from: string, to: string): { readonly extensions: string[] } => ({
  extensions: right.map((line) => line.replace(from, to)),
});

const cases: readonly Case[] = [
  {
    what: 'another key',
    code: 'CERT_KEY_MISMATCH',
    message:
      /is for another key: its public key is SHA-256 [0-9a-f]{32}, and that of the CSR is SHA-256 [0-9a-f]{32}$/,
    certificate: ({ tree }) =>
      issued({ subject: '/CN=kube-apiserver', extensions: right, signer: tree.authorities.ca }),
  },
  {
    what: 'a malformed public key',
    code: 'CERT_KEY_MISMATCH',
    message: /is for another key: its public key is malformed, and that of the CSR is SHA-256 /,
    certificate: ({ csr, tree }) => withoutPoint(sign(csr, tree.authorities.ca)),
  },
  {
    what: 'another subject',
    code: 'CERT_SUBJECT_MISMATCH',
    message: /the subject is O=system:masters, CN=kube-apiserver instead of CN=kube-apiserver$/,
    certificate: ({ issue }) => issue({ subject: '/O=system:masters/CN=kube-apiserver' }),
  },
  {
    what: 'another SAN',
    code: 'CERT_SAN_MISMATCH',
    message:
      /the SANs lack IP:10\.99\.0\.11, and the SANs have IP:10\.99\.0\.12, URI:spiffe:\/\/x in addition$/,
    certificate: ({ issue }) => issue(differently('IP:10.99.0.11', 'IP:10.99.0.12,URI:spiffe://x')),
  },
  {
    what: 'no SAN',
    code: 'CERT_SAN_MISMATCH',
    message: /the SANs lack DNS:cp1, DNS:kubernetes, /,
    certificate: ({ issue }) => issue({ extensions: right.slice(0, 2) }),
  },
  {
    what: 'another extended key usage',
    code: 'CERT_USAGE_MISMATCH',
    message:
      /the usages are digital signature, key encipherment, client auth instead of digital signature, key encipherment, server auth$/,
    certificate: ({ issue }) => issue(differently('serverAuth', 'clientAuth')),
  },
  {
    what: 'an extended key usage without a name',
    code: 'CERT_USAGE_MISMATCH',
    message:
      /the usages are 1\.2\.3\.4, 1\.3\.6\.1\.5\.5\.7\.3\.1 instead of 1\.3\.6\.1\.5\.5\.7\.3\.1$/,
    certificate: ({ issue }) => issue(differently('serverAuth', 'serverAuth,1.2.3.4')),
  },
  {
    what: 'another key usage',
    code: 'CERT_USAGE_MISMATCH',
    message: /the usages are digital signature, server auth instead of/,
    certificate: ({ issue }) => issue(differently(',keyEncipherment', '')),
  },
  {
    what: 'every difference at once',
    code: 'CERT_SUBJECT_MISMATCH',
    message: /the subject is CN=x instead of .*; the SANs lack .*; the usages are none instead of/,
    certificate: ({ issue }) => issue({ subject: '/CN=x', extensions: [] }),
  },
  {
    what: 'an end in the past',
    code: 'CERT_EXPIRED',
    message: /apiserver\.crt expired at \S+Z, and the clock says \S+Z$/,
    certificate: ({ csr, tree }) => sign(csr, tree.authorities.ca),
    at: 400,
  },
  {
    what: 'a start in the future',
    code: 'CERT_NOT_YET_VALID',
    message: /apiserver\.crt is valid from \S+Z, and the clock says \S+Z$/,
    certificate: ({ csr, tree }) => sign(csr, tree.authorities.ca),
    at: -1,
  },
  {
    what: 'another CA of the same name',
    code: 'CERT_UNTRUSTED',
    message:
      /CN=kube-apiserver was signed by another CA with the name CN=kubernetes, and the CA on this node is \S+ca\.crt \(CN=kubernetes\)$/,
    certificate: ({ csr }) => sign(csr, authorityOf()),
  },
  {
    what: 'the CA of the same node for etcd',
    code: 'CERT_UNTRUSTED',
    message:
      /was signed by CN=etcd-ca, whose certificate is not in the file, and the CA on this node is/,
    certificate: ({ csr, tree }) => sign(csr, tree.authorities['etcd-ca']),
  },
  {
    what: 'a missing intermediate CA',
    code: 'CERT_UNTRUSTED',
    message:
      /CN=kube-apiserver was signed by CN=intermediate, whose certificate is not in the file/,
    certificate: ({ csr, tree }) => sign(csr, intermediateOf(tree)),
  },
  {
    what: 'an intermediate certificate that is no CA',
    code: 'CERT_UNTRUSTED',
    message:
      /the CA CN=intermediate in \S+apiserver\.crt is not a CA \(no basic constraint CA:TRUE\)$/,
    certificate: ({ csr, tree }) =>
      withIntermediate(csr, intermediateOf(tree, ['basicConstraints=CA:FALSE'])),
  },
  {
    what: 'an intermediate CA for client certificates',
    code: 'CERT_UNTRUSTED',
    message:
      /the CA CN=intermediate in \S+ does not allow the extended key usage 1\.3\.6\.1\.5\.5\.7\.3\.1$/,
    certificate: ({ csr, tree }) =>
      withIntermediate(csr, intermediateOf(tree, [...caExtensions, 'extendedKeyUsage=clientAuth'])),
  },
  {
    what: 'an expired intermediate CA',
    code: 'CERT_UNTRUSTED',
    message: /the CA CN=intermediate in \S+ is valid from \S+Z until \S+Z$/,
    certificate: ({ csr, tree }) => withIntermediate(csr, intermediateOf(tree, caExtensions, 1)),
    at: 2,
  },
  {
    what: 'names that the intermediate CA may not certify',
    code: 'CERT_UNTRUSTED',
    message: /^OpenSSL rejects \S+apiserver\.crt with the CA \S+ca\.crt: \w+$/,
    certificate: ({ csr, tree }) =>
      withIntermediate(
        csr,
        intermediateOf(tree, [...caExtensions, 'nameConstraints=critical,permitted;DNS:corp']),
      ),
  },
  {
    what: 'no certificate in PEM',
    code: 'PAIR_MALFORMED',
    message: /apiserver\.crt contains no certificate in PEM$/,
    certificate: () => 'not PEM',
  },
  {
    what: 'a truncated certificate',
    code: 'PAIR_MALFORMED',
    message: /apiserver\.crt: the PEM block CERTIFICATE has no END line$/,
    certificate: ({ csr, tree }) => sign(csr, tree.authorities.ca).slice(0, 300),
  },
];

describe('checkIssued() refuses a certificate with', () => {
  for (const { what, code, message, certificate, at = 0 } of cases) {
    it(what, async (context) => {
      const tree = await externalTree(context, model);
      await exportFor(tree, ['apiserver']);
      const csr = join(tree.csrs, 'apiserver.csr');
      const keyPem = await readFile(pendingKey(tree, 'apiserver'));
      const base = { subject: '/CN=kube-apiserver', extensions: right, keyPem };
      const issue: Signing['issue'] = (changes) =>
        issued({ ...base, signer: tree.authorities.ca, ...changes });
      await writeFile(join(tree.signed, 'apiserver.crt'), certificate({ tree, csr, issue }));
      const previous = await filesOf(tree);
      const request = { ...requestFor(tree), clock: new FakeClock(Date.now() + at * day) };
      const [planned] = await planOf(tree, request);
      assert.ok(planned?.kind === 'refused', planned?.kind ?? 'nothing');
      const { failure } = planned;
      assert.equal(failure.code, code);
      assert.match(failure.message, message);
      assert.ok(failure.remedy);
      assert.deepEqual((await importInto(tree, request)).renewed, []);
      assert.deepEqual(await filesOf(tree), previous);
      assert.deepEqual(await readFile(pendingKey(tree, 'apiserver')), keyPem);
    });
  }

  it('no pending key', async (context) => {
    const tree = await externalTree(context, model);
    await writeFile(join(tree.signed, 'apiserver.crt'), tree.authorities.ca.certificate);
    const [planned] = await planOf(tree);
    assert.ok(planned?.kind === 'refused');
    assert.equal(planned.failure.message, 'no key is pending for apiserver');
  });
});

function issued(request: Parameters<typeof issueWithOpenssl>[0]): string {
  return issueWithOpenssl(request).certificate.toString();
}

function withIntermediate(csr: string, intermediate: OpensslPair): string {
  return `${sign(csr, intermediate)}${intermediate.certificate.toString()}`;
}

/** The same certificate with a P-256 key that is not a point of the curve. */
function withoutPoint(pem: string): string {
  const der = Buffer.from(derOf(Buffer.from(pem)));
  // BIT STRING of 66 bytes, no unused bits, uncompressed point.
  const at = der.indexOf(Buffer.of(0x03, 0x42, 0x00, 0x04));
  assert.notEqual(at, -1);
  der[at + 3] = 0x05;
  return Buffer.from(encodePem('CERTIFICATE', der)).toString();
}
