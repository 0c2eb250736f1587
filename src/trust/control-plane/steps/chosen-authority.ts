import { join } from 'node:path';
import type { KeyAlgorithm } from '../../../core/certificate-spec.ts';
import { AgentError } from '../../../core/errors.ts';
import type { Instant } from '../../../core/instant.ts';
import { isAmbiguous } from '../../../core/trust-bundle.ts';
import { readAuthority } from '../../../kube/authorities.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import type { ChainCertificate } from '../../../pki/renewal/certificate-chain.ts';
import { haveSameKey } from '../../../pki/renewal/certificate-chain.ts';
import { kindOf, kindOfAlgorithm } from '../../../pki/renewal/key-file.ts';
import { nextName } from '../../cluster/authority-name.ts';
import type { AuthorityPair, AuthorityRequest } from '../new-authority.ts';
import { applyCommand } from '../apply-command.ts';
import { readPair, requireUsable, sameSubject } from '../next-authority.ts';
import type { CaName } from '../task.ts';

/** What an administrator chooses for the new CA. */
export interface NewAuthorityOptions {
  /** The default is the name of the old CA with the current month. */
  readonly commonName?: string;
  /** The default is the kind of the old key. */
  readonly key?: KeyAlgorithm;
  readonly lifetimeMs: number;
  /** A folder with the files ca.crt and ca.key of an existing CA. */
  readonly importFrom?: string;
}

/** The new CA. `existing`: its files are in place already. */
export type ChosenAuthority =
  | { readonly kind: 'existing' | 'imported'; readonly pair: AuthorityPair }
  | { readonly kind: 'created'; readonly request: AuthorityRequest };

interface Checked {
  readonly ca: CaName;
  readonly old: ChainCertificate;
  readonly now: Instant;
  /** The file of the new CA on this node. */
  readonly file: string;
}

/**
 * A CA that exists already stays, so that a repeated step changes nothing.
 * @throws AgentError TRUST_REFUSED, PAIR_MALFORMED, CERT_*, KEY_UNSUPPORTED, STORE_*
 */
export async function chooseAuthority(
  existing: AuthorityPair | undefined,
  options: NewAuthorityOptions,
  checked: Checked,
): Promise<ChosenAuthority> {
  const { importFrom } = options;
  const imported = importFrom === undefined ? undefined : await readImport(importFrom, checked);
  if (existing === undefined) {
    if (imported !== undefined) return { kind: 'imported', pair: imported };
    return { kind: 'created', request: authorityRequest(options, checked) };
  }
  requireUsable(existing.certificate, checked);
  if (imported === undefined || haveSameKey(imported.certificate, existing.certificate)) {
    return { kind: 'existing', pair: existing };
  }
  throw new AgentError('TRUST_REFUSED', `${checked.file} has another CA than ${importFrom}`, {
    remedy: `Omit --import to continue with this CA, or remove it first: ${applyCommand('create', checked.ca)} --undo`,
  });
}

async function readImport(folder: string, checked: Checked): Promise<AuthorityPair> {
  const certificate = join(folder, 'ca.crt');
  const paths = { certificate, key: keyFileOf(certificate) };
  const pair = await readPair(paths, `Write a CA and its key into ${certificate} and ${paths.key}`);
  if (pair === undefined) {
    throw new AgentError('PAIR_MALFORMED', `${folder} has neither ca.crt nor ca.key`, {
      remedy: 'Pass a folder with the files ca.crt and ca.key of the CA: --import DIR',
    });
  }
  requireUsable(pair.certificate, { ...checked, file: certificate });
  return pair;
}

function authorityRequest(
  { commonName, key, lifetimeMs }: NewAuthorityOptions,
  { old, now }: Checked,
): AuthorityRequest {
  const name = commonName ?? nextName(old.openssl.subject ?? '', now);
  const subject = `CN=${name}`;
  const created = { subject, subjectKeyId: 'of the new key', pin: 'sha256:' } as const;
  if (isAmbiguous(readAuthority(old.der), created)) throw sameSubject(subject);
  const kind = key === undefined ? kindOf(old.openssl.publicKey) : kindOfAlgorithm(key);
  return { commonName: name, key: kind, lifetimeMs, old, now };
}
