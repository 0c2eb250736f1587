import { readAuthority } from '../../../src/kube/authorities.ts';
import type { TrustAuthority } from '../../../src/core/trust.ts';
import { derOf } from '../../core/openssl.ts';
import type { OpensslPair, OpensslRequest } from '../../pki/renewal/openssl-authority.ts';
import { authorityOf } from '../../pki/renewal/openssl-authority.ts';

/** A CA made by the openssl program, with its key. */
export interface TestAuthority extends OpensslPair {
  readonly authority: TrustAuthority;
  readonly pem: string;
}

export function makeTestAuthority(request: Partial<OpensslRequest> = {}): TestAuthority {
  const pair = authorityOf(request);
  const authority = readAuthority(derOf(pair.certificate));
  return { ...pair, authority, pem: pair.certificate.toString() };
}

/** A certificate with the key and the subject of the CA, made later. */
export function renewed(ca: TestAuthority, request: Partial<OpensslRequest> = {}): TestAuthority {
  return makeTestAuthority({ keyPem: ca.key, days: 7_300, ...request });
}
