import { createHash } from 'node:crypto';
import type { CertificateTemplate } from '../core/certificate-spec.ts';

/**
 * A CSR name made from the key and the request, so that "already exists" means that the API
 * server accepted the same request before and the response got lost. The digest is the kubelet's
 * (pkg/kubelet/certificate/bootstrap, `digestedName`): SHA-512/256 over the parts, each in
 * base64url and followed by `|`.
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
