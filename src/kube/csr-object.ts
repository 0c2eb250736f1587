import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import type { ApproverNote } from './approver-note.ts';
import { approverNote } from './approver-note.ts';

/** Base64 in JSON, as bytes. */
export const base64 = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }): Uint8Array<ArrayBuffer> => {
    try {
      return Uint8Array.fromBase64(dataset.value);
    } catch {
      addIssue({ expected: 'base64' });
      return NEVER;
    }
  }),
);

/**
 * RFC 3339 in JSON. Date.parse() alone reads other texts too: `1` is a day in 2001, and a time
 * without a zone is a local time.
 */
export const timestamp = v.pipe(
  v.string(),
  v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/),
  v.check((text) => !Number.isNaN(Date.parse(text))),
);

/** RFC 3339 in JSON, as an Instant. */
export const instant = v.pipe(
  timestamp,
  v.transform((text) => Date.parse(text)),
);

export const annotationsSchema = v.nullish(v.record(v.string(), v.string()), {});

const conditionSchema = v.object({
  type: v.string(),
  status: v.nullish(v.string(), ''),
  reason: v.nullish(v.string(), ''),
  message: v.nullish(v.string(), ''),
});

/** The fields of a certificates.k8s.io/v1 CertificateSigningRequest that this program reads. */
export const csrSchema = v.pipe(
  v.object({
    metadata: v.object({
      name: v.string(),
      uid: v.string(),
      resourceVersion: v.string(),
      creationTimestamp: instant,
      annotations: annotationsSchema,
    }),
    spec: v.object({ request: base64, signerName: v.string() }),
    status: v.nullish(
      v.object({
        conditions: v.nullish(v.array(conditionSchema), []),
        certificate: v.nullish(base64),
      }),
      {},
    ),
  }),
  v.transform(({ metadata, spec, status }): CsrObject => ({
    ...noted(metadata.annotations),
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    createdAt: metadata.creationTimestamp,
    spec,
    status: {
      conditions: status.conditions,
      ...(status.certificate && { certificate: status.certificate }),
    },
  })),
);

/** The note of nodecertd approver; nothing without one. */
export function noted(annotations: Readonly<Record<string, string>>): { note?: ApproverNote } {
  const note = approverNote(annotations);
  return note === undefined ? {} : { note };
}

export interface CsrObject {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly createdAt: Instant;
  readonly spec: { readonly request: Uint8Array<ArrayBuffer>; readonly signerName: string };
  readonly status: CsrStatus;
  readonly note?: ApproverNote;
}

export interface CsrStatus {
  readonly conditions: readonly CsrCondition[];
  /** PEM, the leaf first. */
  readonly certificate?: Uint8Array<ArrayBuffer>;
}

export interface CsrCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

export type CsrVerdict =
  | { readonly kind: 'pending'; readonly approved: boolean }
  /** PEM from the signer, not verified yet. */
  | { readonly kind: 'issued'; readonly pem: Uint8Array<ArrayBuffer> }
  | {
      readonly kind: 'denied';
      readonly reason: string;
      readonly message: string;
      /** From nodecertd approver, if it has denied the CSR. */
      readonly remedy?: string;
    }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string };

/**
 * The state of a CSR, in upstream's order (`WaitForCertificate` in client-go
 * util/certificate/csr): Denied and Failed take precedence over a certificate,
 * and a certificate counts only with an approval.
 */
export function verdictOf({ conditions, certificate }: CsrStatus, note?: ApproverNote): CsrVerdict {
  const denied = conditions.find((condition) => isTrue(condition, 'Denied'));
  if (denied !== undefined) {
    const isOfNote = note?.outcome === 'deny' && note.reason === denied.reason;
    return { ...refusal('denied', denied), ...(isOfNote && { remedy: note.remedy }) };
  }
  const failed = conditions.find((condition) => isTrue(condition, 'Failed'));
  if (failed !== undefined) return refusal('failed', failed);
  const approved = conditions.some((condition) => isTrue(condition, 'Approved'));
  return approved && certificate !== undefined && certificate.length > 0
    ? { kind: 'issued', pem: certificate }
    : { kind: 'pending', approved };
}

/**
 * The API server allows only the status True for these three types, and objects created before
 * v1 have no status. Upstream ignores the status.
 */
function isTrue({ type, status }: CsrCondition, wanted: string): boolean {
  return type === wanted && (status === 'True' || status === '');
}

function refusal<K extends 'denied' | 'failed'>(
  kind: K,
  { reason, message }: CsrCondition,
): { kind: K; reason: string; message: string } {
  return { kind, reason, message };
}
