import { createHmac, timingSafeEqual } from 'node:crypto';
import type { BootstrapToken } from '../core/bootstrap-token.ts';
import { secretOf } from '../core/bootstrap-token.ts';

/**
 * The detached JWS (RFC 7515, appendix F) with which the cluster signs cluster-info for a token, as
 * in cluster-bootstrap token/jws. The signature leaves out the payload.
 */
export function signatureOf(kubeconfig: string, token: BootstrapToken): string {
  const header = base64url(JSON.stringify({ alg: 'HS256', kid: token.id }));
  const mac = createHmac('sha256', secretOf(token))
    .update(`${header}.${base64url(kubeconfig)}`)
    .digest('base64url');
  return `${header}..${mac}`;
}

/**
 * Compares whole signatures, as kubeadm does (jws.DetachedTokenIsValid). So another algorithm,
 * another token id, padding and any other spelling of the header are refused.
 */
export function isSignedBy(
  token: BootstrapToken,
  { kubeconfig, signature }: { readonly kubeconfig: string; readonly signature: string },
): boolean {
  const expected = Buffer.from(signatureOf(kubeconfig, token));
  const found = Buffer.from(signature);
  return expected.length === found.length && timingSafeEqual(expected, found);
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
