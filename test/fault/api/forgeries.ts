import { verbIs } from '../../support/fault-proxy.ts';
import { kubeletClientSigner } from '../../../src/core/certificate-spec.ts';
import type { ErrorCode } from '../../../src/core/errors.ts';
import type { CsrJson } from './answers.ts';
import { relayRewritten } from './answers.ts';
import type { ApiFault } from './fault.ts';
import type { Forgery } from './issuer.ts';

/** The signer issues a certificate that does not match the CSR. */
export const forgeries: readonly ApiFault[] = [
  forged('other-key', 'CERT_KEY_MISMATCH'),
  forged('other-subject', 'CERT_SUBJECT_MISMATCH'),
  { ...forged('no-alt-names', 'CERT_SAN_MISMATCH'), situations: ['bootstrap'], serving: true },
  forged('expired', 'CERT_EXPIRED'),
  { ...forged('not-yet-valid', 'CERT_NOT_YET_VALID'), wasted: 0, storesForged: true },
  forged('wrong-usages', 'CERT_USAGE_MISMATCH'),
  forged('wrong-ca', 'CERT_UNTRUSTED'),
  forged('two-leaves', 'CERT_MALFORMED'),
  forged('garbage', 'CERT_MALFORMED'),
];

function forged(forgery: Forgery, code: ErrorCode): ApiFault {
  return {
    name: `wrong certificate: ${forgery.replaceAll('-', ' ')}`,
    places: ['wait'],
    // Each attempt creates a CSR, so the next one follows after ten minutes.
    longWait: true,
    codes: [code],
    wasted: 1,
    begin: ({ proxy, issuer, agentNow }) => {
      const forge = async (csr: CsrJson): Promise<object> => {
        const { request, signerName } = csr.spec;
        if (csr.status?.certificate === undefined) return csr;
        // The client certificate comes first, and has no SANs to lose.
        if (forgery === 'no-alt-names' && signerName === kubeletClientSigner) return csr;
        const pem = await issuer.forge(forgery, {
          request: Buffer.from(request, 'base64').toString(),
          signerName,
          now: agentNow(),
        });
        return {
          ...csr,
          status: { ...csr.status, certificate: Buffer.from(pem).toString('base64') },
        };
      };
      proxy.set({
        meets: verbIs('watch', 'get'),
        serve: (exchange) => relayRewritten(exchange, forge),
      });
    },
  };
}
