import type { DecisionCode } from '../../../src/approver/decision.ts';
import type { RequestParts } from '../../approver/requests.ts';
import { pemOf, requestDer } from '../../approver/requests.ts';
import type { Random } from './random.ts';

/** What a damaged CSR may lead to: a code of the policy, or a refusal of the watch's schema. */
export type Verdict = DecisionCode | 'malformed';

/** A CertificateSigningRequest as JSON. */
export interface CsrJson {
  metadata: Record<string, unknown>;
  spec: Record<string, unknown>;
  status: Record<string, unknown>;
}

/**
 * One change of a valid CSR, together with its consequence, so that a test knows the right
 * outcome without the code under test.
 */
export interface Change {
  /** The part of the CSR that changes. Two changes of one part never meet in one CSR. */
  readonly part: string;
  readonly name: string;
  /** Empty if the CSR stays valid. */
  readonly verdicts: readonly Verdict[];
  /** Other contents of the request, which are then signed. */
  readonly request?: (random: Random) => RequestParts;
  /** Changes the signed request. */
  readonly der?: (der: Uint8Array, random: Random) => Uint8Array;
  readonly pem?: (text: string, random: Random) => string;
  readonly object?: (csr: CsrJson, random: Random) => void;
}

/**
 * Up to `most` changes of different parts, in the order of the list. Picks a group first, so that
 * a long one does not push out the others.
 */
export function pickChanges(
  groups: readonly (readonly Change[])[],
  most: number,
  random: Random,
): Change[] {
  const picked = new Map<string, Change>();
  for (let left = random.below(most + 1); left > 0; left -= 1) {
    const change = random.pick(random.pick(groups));
    picked.set(change.part, change);
  }
  return groups.flat().filter((change) => picked.get(change.part) === change);
}

/** The request with its changes, as PEM. */
export function changedRequest(
  original: RequestParts,
  changes: readonly Change[],
  random: Random,
): Uint8Array {
  const parts: RequestParts = Object.assign(
    { ...original },
    ...changes.map(({ request }) => request?.(random)),
  );
  let der: Uint8Array = requestDer(parts);
  for (const change of changes) der = change.der?.(der, random) ?? der;
  let text = Buffer.from(pemOf(der)).toString('latin1');
  for (const change of changes) text = change.pem?.(text, random) ?? text;
  return Buffer.from(text, 'latin1');
}
