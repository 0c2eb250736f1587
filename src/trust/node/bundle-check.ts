import type { CaPin } from '../../core/ca-pin.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import type { PemBlock } from '../../core/pem.ts';
import { parsePem } from '../../core/pem.ts';
import { printable } from '../../core/printable.ts';
import { unionOf } from '../../core/trust-bundle.ts';
import type { RefusedTrust } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { readAuthority } from '../../kube/authorities.ts';
import { requireSoundAuthority } from './authority-check.ts';
import { refusedTrust, TrustFault } from './refused-trust.ts';
import type { TrustSource } from './source.ts';

export interface BundleCheck {
  readonly source: TrustSource;
  /**
   * The CAs that this node trusts already. A source may contain them until the end of a rollover, even
   * if one of them has expired or is weak, so they are not checked again.
   */
  readonly held: readonly TrustAuthority[];
  /** trust.caCertHashes. If it is empty, a new CA needs no pin. */
  readonly pins: readonly CaPin[];
  readonly now: Instant;
}

export type BundleVerdict =
  | { readonly kind: 'accepted'; readonly authorities: readonly TrustAuthority[] }
  | { readonly kind: 'refused'; readonly refusal: RefusedTrust };

/** Bytes of a bundle. Sixteen CAs with RSA keys of 4096 bits have 32 kB. */
const longestBundle = 256 * 1024;

/** CAs of a bundle, and of its union with the held CAs. */
export const mostAuthorities = 16;

/**
 * Decides whether this node may trust the CAs of a source. One fault refuses all of them, because
 * the source may be incomplete. Wipes the bytes if they contain a private key.
 */
export function checkBundle(pem: Uint8Array, check: BundleCheck): BundleVerdict {
  try {
    const authorities = readBundle(pem);
    for (const [index, authority] of authorities.entries()) {
      const what = `certificate ${index + 1} of ${authorities.length} (${briefly(authority)})`;
      within(what, () => requireAcceptable(authority, authorities, check));
    }
    requireFewTogether(authorities, check.held);
    return { kind: 'accepted', authorities };
  } catch (error) {
    if (!(error instanceof TrustFault)) throw error;
    return { kind: 'refused', refusal: refusedTrust(error, check.source) };
  }
}

/** @throws TrustFault */
function readBundle(pem: Uint8Array): TrustAuthority[] {
  if (pem.length > longestBundle) {
    throw new TrustFault('too-large', `they have more than ${longestBundle / 1024} KiB`);
  }
  rejectPrivateKey(pem);
  const blocks = blocksOf(pem);
  requireFew(blocks.length);
  return blocks.map(({ label, der }, index) => {
    const what = `PEM block ${index + 1} of ${blocks.length}`;
    if (label !== 'CERTIFICATE') {
      throw new TrustFault('malformed', `${what} is ${printable(label, 40)}, not CERTIFICATE`);
    }
    return within(what, () => authorityOf(der));
  });
}

/** Searches the text, so that no part of the key is decoded. */
function rejectPrivateKey(pem: Uint8Array): void {
  if (!Buffer.from(pem.buffer, pem.byteOffset, pem.length).includes('PRIVATE KEY-----')) return;
  pem.fill(0);
  throw new TrustFault('private-key', 'they contain a private key');
}

function blocksOf(pem: Uint8Array): PemBlock[] {
  if (pem.includes(0)) throw new TrustFault('malformed', 'they contain NUL bytes');
  const blocks = parse(pem);
  if (blocks.length === 0) throw new TrustFault('malformed', 'they contain no certificate');
  // A program skips a certificate whose first line is damaged, for example by the end of the file.
  const text = new TextDecoder().decode(pem);
  const marks = text.split('\n').filter((line) => /^\s*-|-----/.test(line));
  if (marks.length !== 2 * blocks.length) {
    throw new TrustFault('malformed', 'a BEGIN line is incomplete, or not at the start of a line');
  }
  return blocks;
}

function parse(pem: Uint8Array): PemBlock[] {
  try {
    return parsePem(pem);
  } catch (error) {
    if (error instanceof AgentError) throw new TrustFault('malformed', error.message);
    throw error;
  }
}

function authorityOf(der: Uint8Array<ArrayBuffer>): TrustAuthority {
  try {
    return readAuthority(der);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    throw new TrustFault('malformed', 'cannot be parsed as a certificate');
  }
}

function requireFew(count: number): void {
  if (count <= mostAuthorities) return;
  throw new TrustFault('too-many', `they have ${count} certificates, more than ${mostAuthorities}`);
}

/** Otherwise a source that changes again and again could fill the files of the node. */
function requireFewTogether(
  authorities: readonly TrustAuthority[],
  held: readonly TrustAuthority[],
): void {
  const { length } = unionOf(held, authorities);
  if (length <= Math.max(mostAuthorities, held.length)) return;
  throw new TrustFault(
    'too-many',
    `together with the CAs of this node they are ${length} CAs, more than ${mostAuthorities}`,
  );
}

function requireAcceptable(
  authority: TrustAuthority,
  bundle: readonly TrustAuthority[],
  { held, pins, now }: BundleCheck,
): void {
  if (held.some(({ fingerprint }) => fingerprint === authority.fingerprint)) return;
  requireSoundAuthority(authority, { bundle, now });
  const hasKnownKey = held.some(({ pin }) => pin === authority.pin);
  if (pins.length === 0 || hasKnownKey || pins.includes(authority.pin)) return;
  throw new TrustFault('not-pinned', `its pin ${authority.pin} is not in trust.caCertHashes`);
}

function briefly({ subject, fingerprint }: TrustAuthority): string {
  return `${subject}, fingerprint ${shortFingerprint(fingerprint)}`;
}

/** Adds what the fault is about. */
function within<T>(what: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof TrustFault)) throw error;
    throw new TrustFault(error.reason, `${what} ${error.message}`, error.remedy);
  }
}
