import { createPrivateKey } from 'node:crypto';
import { day, second } from '../../../src/core/instant.ts';
import { readCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { generateKey } from '../../../src/pki/renewal/key-file.ts';
import { requireEquivalent } from '../../../src/pki/renewal/proof.ts';
import { reissue, requireReissuable } from '../../../src/pki/renewal/reissue.ts';
import { authorityOf, parsed } from '../../pki/renewal/openssl-authority.ts';
import { derMutators } from './der.ts';
import { mutated } from './mutate.ts';
import type { FuzzTarget } from './target.ts';

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

export const targets: readonly FuzzTarget[] = [reissued];
