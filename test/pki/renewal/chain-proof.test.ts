import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { requireAccepted } from '../../../src/pki/renewal/chain-proof.ts';
import type { OpensslPair, OpensslRequest } from './openssl-authority.ts';
import { authorityOf, caExtensions, issueWithOpenssl, parsed } from './openssl-authority.ts';

const root = authorityOf();
const intermediate = intermediateWith();

function intermediateWith(...extensions: readonly string[]): OpensslPair {
  return issueWithOpenssl({
    subject: '/CN=intermediate',
    extensions: [...caExtensions, ...extensions],
    signer: root,
  });
}

function leaf(usage: string, request: Partial<OpensslRequest> = {}): OpensslPair {
  const extensions = [`extendedKeyUsage=${usage}`, 'subjectAltName=DNS:cp1'];
  return issueWithOpenssl({ subject: '/CN=leaf', extensions, signer: intermediate, ...request });
}

async function prove(
  pair: OpensslPair,
  { chain = [intermediate], anchor = root }: { chain?: OpensslPair[]; anchor?: OpensslPair } = {},
): Promise<void> {
  const certificates = await Promise.all([pair, ...chain].map(parsed));
  const [certificate, ...others] = certificates;
  assert.ok(certificate);
  const authority = {
    path: '/pki/ca.crt',
    pem: anchor.certificate,
    certificates: [await parsed(anchor)],
    keyPath: '/pki/ca.key',
  };
  const key = createPrivateKey(pair.key);
  await requireAccepted({ certificate, chain: others, key, authority, file: '/new.crt' });
}

describe('requireAccepted()', () => {
  for (const usage of ['serverAuth', 'clientAuth', 'serverAuth,clientAuth'] as const) {
    for (const key of ['P-256', 'P-521', 'RSA 2048', 'Ed25519'] as const) {
      it(`accepts ${usage} with a key of the kind ${key}`, async () => {
        await prove(leaf(usage, { key }));
      });
    }
  }

  it('accepts an intermediate CA in the CA file, as Go does', async () => {
    await prove(leaf('serverAuth'), { chain: [], anchor: intermediate });
  });

  for (const usage of ['serverAuth', 'clientAuth'] as const) {
    it(`rejects ${usage} below a CA with an unknown critical extension`, async () => {
      const signer = intermediateWith('1.2.3.4=critical,DER:0500');
      await assert.rejects(prove(leaf(usage, { signer }), { chain: [signer] }), {
        code: 'CERT_UNTRUSTED',
        message: /^OpenSSL rejects \/new\.crt with the CA \/pki\/ca\.crt: \w+$/,
        remedy:
          /openssl verify -partial_chain -CAfile \/pki\/ca\.crt -untrusted \/new\.crt \/new\.crt$/,
      });
    });

    it(`rejects ${usage} without its intermediate CA`, async () => {
      await assert.rejects(prove(leaf(usage), { chain: [] }), /UNABLE_TO_/);
    });
  }
});
