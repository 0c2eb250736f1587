import type { KeyObject } from 'node:crypto';
import { createHash, createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { readKeyFile } from '../../pki/renewal/key-file.ts';
import type { RolloverAuthorities } from './gate.ts';
import type { SigningAuthority } from './probe-certificate.ts';

/**
 * The files with the keys of the kubernetes CA on a control-plane node: kubeadm's own, and those of
 * a rollover (docs/ca-rollover.md).
 */
const keyNames = ['ca.key', 'ca-signing.key', 'ca-next.key', 'ca-previous.key'] as const;

export interface SigningKeys {
  readonly old?: SigningAuthority;
  readonly next?: SigningAuthority;
}

export interface SigningKeySearch {
  /** `/etc/kubernetes/pki`. */
  readonly certificates: string;
  /** Further key files. */
  readonly files: readonly string[];
}

/**
 * The keys of the two CAs that are on this machine, whatever the names of their files. A user who is
 * not root may read none of the usual files.
 * @throws AgentError KEY_UNSUPPORTED, PAIR_MALFORMED, STORE_* for one of the further files
 */
export async function findSigningKeys(
  { old, next }: RolloverAuthorities,
  { certificates, files }: SigningKeySearch,
): Promise<SigningKeys> {
  const found = await Promise.all([
    ...keyNames.map((name) => readKeyFile(join(certificates, name)).catch(() => undefined)),
    ...files.map(readKeyFile),
  ]);
  const keys = new Map(
    found.flatMap((key): [string, KeyObject][] => (key === undefined ? [] : [[pinOf(key), key]])),
  );
  const oldKey = keys.get(old.pin);
  const nextKey = next === undefined ? undefined : keys.get(next.pin);
  return {
    ...(oldKey !== undefined && { old: { authority: old, key: oldKey } }),
    ...(next !== undefined && nextKey !== undefined && { next: { authority: next, key: nextKey } }),
  };
}

function pinOf(key: KeyObject): string {
  const der = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return `sha256:${createHash('sha256').update(der).digest('hex')}`;
}
