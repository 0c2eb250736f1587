import { createHash } from 'node:crypto';
import type { CertificateTemplate } from '../core/certificate-spec.ts';

/**
 * A name that follows from the key and what is asked for it, so that "already
 * exists" can only mean that this very request was accepted before and the answer
 * got lost. The digest is the kubelet's (pkg/kubelet/certificate/bootstrap,
 * `digestedName`): SHA-512/256 over the parts, each in base64url and ended by `|`.
 *
 * @param publicKey SubjectPublicKeyInfo in DER
 */
export function csrName(
  publicKey: Uint8Array,
  { subject, usages }: Pick<CertificateTemplate, 'subject' | 'usages'>,
): string {
  const hash = createHash('sha512-256');
  const { commonName, organizations } = subject;
  for (const part of [publicKey, commonName, ...organizations, ...usages]) {
    hash.update(`${Buffer.from(part).toString('base64url')}|`);
  }
  return `node-csr-${hash.digest('base64url')}`;
}
