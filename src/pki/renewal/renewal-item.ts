import type { KeyObject } from 'node:crypto';
import type { KeyAlgorithm } from '../../core/certificate-spec.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import type { AuthorityFile, Signer } from './authority.ts';
import { findSigner } from './authority.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { chainAbove, publicKeyOf } from './certificate-chain.ts';
import type { ExistingCertificate, NodeFiles, Target } from './existing-certificate.ts';
import { readExisting } from './existing-certificate.ts';
import type { KeyForm, KeyKind } from './key-file.ts';
import { kindOf, kindOfAlgorithm } from './key-file.ts';
import type { KubeadmCertificate } from '../layout.ts';
import type { Lifetime, Validity } from './lifetime.ts';
import { validityOf } from './lifetime.ts';
import { requireSigningKey } from './signature.ts';

/** A certificate that an external CA has issued for a pending key. */
export interface IssuedItem {
  readonly certificate: ChainCertificate;
  readonly key: KeyObject;
  /** The file that an administrator brought. */
  readonly file: string;
}

/** The renewal of one certificate, before its key exists. */
export interface RenewalItem {
  readonly entry: KubeadmCertificate;
  readonly target: Target;
  readonly leaf: ChainCertificate;
  /** Absent if a CA of this machine will issue the certificate. */
  readonly issued?: IssuedItem;
  /** The certificates that follow the leaf in its file, and still belong to its chain. */
  readonly chain: readonly ChainCertificate[];
  /** Other certificates of the file, which the new file does not contain. */
  readonly omitted: readonly ChainCertificate[];
  readonly signer: Signer;
  readonly authorityPath: string;
  readonly key: KeyKind;
  readonly previousForm?: KeyForm;
  readonly validity: Validity;
  /** The modification time of the file. */
  readonly storedAt: Instant;
}

export interface ItemOptions extends NodeFiles {
  readonly lifetime: Lifetime;
  /** The kind of the new key; that of the previous one if absent. */
  readonly key?: KeyAlgorithm;
  readonly now: Instant;
}

/**
 * Reads one certificate and its CA. Undefined if the certificate does not exist: a node with an
 * external etcd, for example, lacks four of them.
 * @throws AgentError that says why the certificate cannot be renewed
 */
export async function planItem(
  entry: KubeadmCertificate,
  readAuthority: () => Promise<AuthorityFile>,
  options: ItemOptions,
): Promise<RenewalItem | undefined> {
  const { now } = options;
  const existing = await readExisting(entry, options, readAuthority);
  if (existing === undefined) return undefined;
  const authority = await readAuthority();
  const { target, path, leaf, others, previousForm, storedAt } = existing;
  const { name } = entry;
  const signer = findSigner({ name, leaf, chain: others, authority, file: path, now });
  if (signer.kind === 'local') requireSigningKey(signer.key, authority.keyPath);
  const chain = chainAbove(leaf, others).filter(({ facts }) => now < facts.notAfter);
  return {
    entry,
    target,
    leaf,
    chain,
    omitted: others.filter((other) => !chain.includes(other)),
    signer,
    authorityPath: authority.path,
    key: newKeyKind(existing, options.key),
    ...(previousForm && { previousForm }),
    validity: validityOf({
      lifetime: options.lifetime,
      previous: { ...leaf.facts, storedAt },
      authority: signer.certificate.facts,
      now,
    }),
    storedAt,
  };
}

/** The kind of the key of this certificate unless another one is chosen. @throws AgentError KEY_UNSUPPORTED */
export function newKeyKind(
  { path, leaf }: Pick<ExistingCertificate, 'path' | 'leaf'>,
  chosen?: KeyAlgorithm,
): KeyKind {
  if (chosen !== undefined) return kindOfAlgorithm(chosen);
  const publicKey = publicKeyOf(leaf);
  if (publicKey === undefined) {
    throw new AgentError('KEY_UNSUPPORTED', `${path}: the public key cannot be parsed`, {
      remedy: 'Choose the kind of the new key: --key ecdsa-p256',
    });
  }
  try {
    return kindOf(publicKey);
  } catch (error) {
    throw error instanceof AgentError ? error.withMessage(`${path}: ${error.message}`) : error;
  }
}
