import * as v from 'valibot';
import type { CsrHold } from '../core/enroller-protocol.ts';
import { printable } from '../core/printable.ts';

/** In which `nodecertd approver` explains its decision: a node may read its CSR, but no Events. */
export const approverAnnotation = 'nodecertd.io/approver';

/** Why `nodecertd approver` holds or denied a CSR. */
export interface ApproverNote extends CsrHold {
  readonly outcome: 'hold' | 'deny';
}

export const longestNote = 2048;

const text = (longest: number) =>
  v.pipe(
    v.string(),
    v.transform((value) => printable(value, longest)),
    v.nonEmpty(),
  );

const noteSchema = v.object({
  outcome: v.picklist(['hold', 'deny']),
  reason: text(64),
  message: text(1_000),
  remedy: text(500),
});

/**
 * Undefined without a note, and for a malformed one. The requestor of a CSR can write any annotation
 * into it, so a note is for people only.
 */
export function approverNote(
  annotations: Readonly<Record<string, string>>,
): ApproverNote | undefined {
  const value = annotations[approverAnnotation];
  if (value === undefined || value.length > longestNote) return undefined;
  try {
    const { success, output } = v.safeParse(noteSchema, JSON.parse(value));
    return success ? output : undefined;
  } catch {
    return undefined;
  }
}
