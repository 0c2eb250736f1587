import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { authorityName } from '../../core/trust.ts';
import { isAmbiguous } from '../../core/trust-bundle.ts';
import { readAuthority } from '../../kube/authorities.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import { keyFileOf } from '../../pki/layout.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { readCertificatesOf } from '../../pki/renewal/certificate-chain.ts';
import { readKeyFile } from '../../pki/renewal/key-file.ts';
import { readContent } from '../../store/file-content.ts';
import { requireSoundAuthority } from '../node/authority-check.ts';
import { TrustFault } from '../node/refused-trust.ts';
import { externalEtcd } from './etcd/support.ts';
import type { AuthorityPair } from './new-authority.ts';
import type { CaPlaces } from './node-files.ts';
import { caPath } from './node-files.ts';

/** Where a CA and its key are. */
export interface PairPaths {
  readonly certificate: string;
  /** Absent for the CA of external etcd, whose key is on an etcd host. */
  readonly key?: string;
}

/** A CA, and its key if it is on this node. */
export type NextAuthority = Omit<AuthorityPair, 'key'> & Partial<AuthorityPair>;

/** The files of the new CA, from the step `create` to the step `finish`. */
export async function nextPaths(places: CaPlaces): Promise<PairPaths> {
  const certificate = caPath(places, 'next');
  const isExternal =
    places.ca === 'etcd' &&
    externalEtcd((await findLocalNode(places.directories)).components) !== undefined;
  return isExternal ? { certificate } : { certificate, key: keyFileOf(certificate) };
}

/** The files that the other control-plane nodes need, as in `A, B and C`. */
export function nextPathsInWords(places: CaPlaces): string {
  const certificate = caPath(places, 'next');
  const key = keyFileOf(certificate);
  if (places.ca === 'etcd') return `${certificate} (and ${key}, unless etcd is external)`;
  if (places.ca === 'front-proxy') return `${certificate} and ${key}`;
  return `${certificate}, ${key} and ${caPath(places, 'bridge')}`;
}

/**
 * A CA with its key, if the key is on this node. Undefined if no file exists.
 * @param remedy for files that do not belong together
 * @throws AgentError PAIR_MALFORMED, CERT_MALFORMED, CERT_KEY_MISMATCH, KEY_UNSUPPORTED, STORE_*
 */
export async function readPair(
  { certificate, key: keyPath }: PairPaths,
  remedy: string,
): Promise<NextAuthority | undefined> {
  const content = await readContent(certificate);
  const key = keyPath === undefined ? undefined : await readKeyFile(keyPath);
  if (content === undefined && key === undefined) return undefined;
  if (content === undefined || (keyPath !== undefined && key === undefined)) {
    const [present, missing] =
      content === undefined ? [keyPath, certificate] : [certificate, keyPath];
    const message = `${present} exists, and ${missing} does not`;
    throw new AgentError('PAIR_MALFORMED', message, { remedy });
  }
  const [only, ...others] = await readCertificatesOf(certificate, content.bytes);
  if (only === undefined || others.length > 0) {
    const count = only === undefined ? 'no certificate' : `${others.length + 1} certificates`;
    const message = `${certificate} has ${count}, and a file to sign with needs exactly one`;
    throw new AgentError('PAIR_MALFORMED', message, { remedy });
  }
  if (key === undefined) return { certificate: only };
  if (only.openssl.checkPrivateKey(key)) return { certificate: only, key };
  const message = `${keyPath} is not the key of ${certificate}`;
  throw new AgentError('CERT_KEY_MISMATCH', message, { remedy });
}

/**
 * Checks that a CA can replace the old one.
 * @param file for messages
 * @throws AgentError TRUST_REFUSED
 */
export function requireUsable(
  next: ChainCertificate,
  {
    old,
    file,
    now,
  }: { readonly old: ChainCertificate; readonly file: string; readonly now: Instant },
): void {
  const [oldAuthority, authority] = [readAuthority(old.der), readAuthority(next.der)];
  try {
    requireSoundAuthority(authority, { bundle: [authority], now });
  } catch (error) {
    if (!(error instanceof TrustFault)) throw error;
    throw refused(`the CA in ${file} ${error.message}`, otherAuthority);
  }
  if (next.openssl.publicKey.asymmetricKeyType === 'ed25519') {
    throw refused(
      `the CA in ${file} has an Ed25519 key, which kubeadm cannot read`,
      otherAuthority,
    );
  }
  if (authority.pin === oldAuthority.pin) {
    throw refused(
      `the CA in ${file} has the key of the old CA ${authorityName(oldAuthority)}`,
      'To replace only the certificate of the CA, renew it with its key; no certificate has to be issued again. For a rollover, use a CA with another key',
    );
  }
  if (isAmbiguous(oldAuthority, authority)) throw sameSubject(authority.subject);
}

const otherAuthority = 'Use another CA, or let nodecertd create one: omit --import';

/** OpenSSL tells two CAs of one subject apart only by their SubjectKeyIdentifiers. */
export function sameSubject(subject: string): AgentError {
  return refused(
    `the new CA would have the subject of the old CA, ${subject}, and one of them has no SubjectKeyIdentifier, so OpenSSL would find only the first of them`,
    'Choose another subject: --subject "CN=NAME"',
  );
}

function refused(message: string, remedy: string): AgentError {
  return new AgentError('TRUST_REFUSED', message, { remedy });
}
