import type { KeyObject } from 'node:crypto';
import { createPublicKey } from 'node:crypto';
import {
  extensionIds,
  writeCommonName,
  writeExtension,
  writeOid,
  writeToBeSigned,
} from '../../core/certificate-parts.ts';
import { derTags, writeDer } from '../../core/der.ts';
import type { Instant } from '../../core/instant.ts';
import { minute } from '../../core/instant.ts';
import { encodePem } from '../../core/pem.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import type { ClientCertificate } from '../../kube/cluster-access.ts';
import { exportKey, generateKey } from '../../pki/renewal/key-file.ts';
import { newSerial } from '../../pki/renewal/certificate-fields.ts';
import { signatureAlgorithm, signDer } from '../../pki/renewal/signature.ts';

/** A CA whose key is on this machine. */
export interface SigningAuthority {
  readonly authority: TrustAuthority;
  readonly key: KeyObject;
}

/** Has no permissions beyond those of every authenticated user. Audit logs show this name. */
export const probeUser = 'nodecertd:ca-rollover-probe';

/**
 * A client certificate from this CA that is valid for a minute and stays in memory. The caller wipes
 * the key.
 * @param now the time of the API servers
 * @param commonName the user; for a front proxy a name that servers allow
 * @throws AgentError KEY_UNSUPPORTED
 */
export async function mintProbe(
  { authority, key: signer }: SigningAuthority,
  now: Instant,
  commonName = probeUser,
): Promise<ClientCertificate> {
  const key = await generateKey({ type: 'ec', curve: 'prime256v1' });
  const toBeSigned = writeToBeSigned({
    serial: newSerial(),
    algorithm: signatureAlgorithm(signer),
    issuer: authority.subjectName,
    notBefore: now - minute,
    notAfter: now + minute,
    subject: writeCommonName(commonName),
    publicKey: createPublicKey(key).export({ format: 'der', type: 'spki' }),
    extensions: extensionsBy(authority),
  });
  return { pem: encodePem('CERTIFICATE', signDer(toBeSigned, signer)), key: exportKey(key) };
}

const clientAuth = '1.3.6.1.5.5.7.3.2';

/** The key identifier of the CA is what tells two CAs of one name apart. */
function extensionsBy({ subjectKeyId }: TrustAuthority): Uint8Array[] {
  const usage = writeDer(derTags.sequence, writeOid(clientAuth));
  const own = [writeExtension(extensionIds.extendedKeyUsage, usage)];
  if (subjectKeyId === undefined) return own;
  const issuer = writeDer(derTags.sequence, writeDer(0x80, Uint8Array.fromHex(subjectKeyId)));
  return [...own, writeExtension(extensionIds.authorityKeyIdentifier, issuer)];
}
