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
import type { AuthorityRequest } from '../new-authority.ts';
import { applyCommand } from '../apply-command.ts';
import type { NextAuthority, PairPaths } from '../next-authority.ts';
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
  | { readonly kind: 'existing' | 'imported'; readonly pair: NextAuthority }
  | { readonly kind: 'created'; readonly request: AuthorityRequest };

interface Checked {
  readonly ca: CaName;
  readonly old: ChainCertificate;
  readonly now: Instant;
  /** The files of the new CA on this node. */
  readonly files: PairPaths;
}

/**
 * A CA that exists already stays, so that a repeated step changes nothing.
 * @throws AgentError TRUST_REFUSED, PAIR_MALFORMED, CERT_*, KEY_UNSUPPORTED, STORE_*
 */
export async function chooseAuthority(
  existing: NextAuthority | undefined,
  options: NewAuthorityOptions,
  { files, ...known }: Checked,
): Promise<ChosenAuthority> {
  const checked = { ...known, file: files.certificate };
  const { importFrom } = options;
  const imported =
    importFrom === undefined
      ? undefined
      : await readImport(importFrom, { ...checked, needsKey: files.key !== undefined });
  if (existing === undefined) {
    if (imported !== undefined) return { kind: 'imported', pair: imported };
    if (files.key === undefined) throw withoutImport();
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

/** With this key, an intruder on the node could become a member of etcd, which has all Secrets. */
function withoutImport(): AgentError {
  return new AgentError(
    'CA_EXTERNAL',
    'etcd runs on other machines, and the key of its CA stays there, so this node cannot create the new CA',
    {
      remedy: `Create it on an etcd host, for example: kubeadm init phase certs etcd-ca --cert-dir DIR; copy its ca.crt, without ca.key, into a folder of this node; then run: ${applyCommand('create', 'etcd')} --import FOLDER`,
    },
  );
}

async function readImport(
  folder: string,
  { needsKey, ...checked }: Omit<Checked, 'files'> & { readonly needsKey: boolean },
): Promise<NextAuthority> {
  const certificate = join(folder, 'ca.crt');
  const key = keyFileOf(certificate);
  const pair = await readPair(
    needsKey ? { certificate, key } : { certificate },
    `Write a CA and its key into ${certificate} and ${key}`,
  );
  if (pair === undefined) {
    const names = needsKey ? 'neither ca.crt nor ca.key' : 'no ca.crt';
    const files = needsKey ? 'the files ca.crt and ca.key' : 'the file ca.crt';
    throw new AgentError('PAIR_MALFORMED', `${folder} has ${names}`, {
      remedy: `Pass a folder with ${files} of the CA: --import DIR`,
    });
  }
  requireUsable(pair.certificate, { ...checked, file: certificate });
  return pair;
}

function authorityRequest(
  { commonName, key, lifetimeMs }: NewAuthorityOptions,
  { old, now }: Pick<Checked, 'old' | 'now'>,
): AuthorityRequest {
  const name = commonName ?? nextName(old.openssl.subject ?? '', now);
  const subject = `CN=${name}`;
  const created = { subject, subjectKeyId: 'of the new key', pin: 'sha256:' } as const;
  if (isAmbiguous(readAuthority(old.der), created)) throw sameSubject(subject);
  const kind = key === undefined ? kindOf(old.openssl.publicKey) : kindOfAlgorithm(key);
  return { commonName: name, key: kind, lifetimeMs, old, now };
}
