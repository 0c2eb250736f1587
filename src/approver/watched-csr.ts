import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { contentOf, readDer } from '../core/der.ts';
import { nodeOfUser } from '../core/node-name.ts';
import { without } from '../core/without.ts';
import { annotationsSchema } from '../kube/csr-object.ts';
import type { ServingCsr } from './serving-csr.ts';
import { servingCsrParts, toServingCsr } from './serving-csr.ts';

export const csrCollection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** A CSR, with the parts of the object that an update has to send back unchanged. */
export interface WatchedCsr extends ServingCsr {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly conditions: readonly unknown[];
}

const { metadata: metadataPart, spec, status: statusPart } = servingCsrParts;

/** A certificates.k8s.io/v1 CertificateSigningRequest. */
export const watchedCsrSchema: v.GenericSchema<unknown, WatchedCsr> = v.pipe(
  v.object({
    metadata: v.looseObject({
      ...metadataPart.entries,
      annotations: annotationsSchema,
    }),
    spec,
    status: v.nullish(
      v.object({
        ...statusPart.entries,
        conditions: v.nullish(v.array(v.looseObject({ type: v.string() })), []),
      }),
      {},
    ),
  }),
  v.transform((object) => ({
    ...toServingCsr(object),
    // An update without managedFields keeps them, and they are longer than everything else.
    metadata: without(object.metadata, 'managedFields'),
    annotations: object.metadata.annotations,
    conditions: object.status.conditions,
  })),
);

/** True until the CSR is approved, denied or failed. */
export function isPending(csr: ServingCsr): boolean {
  return (
    !csr.isDeleting &&
    !csr.hasCertificate &&
    !csr.conditionTypes.some((type) => finalTypes.has(type))
  );
}

const finalTypes = new Set(['Approved', 'Denied', 'Failed']);

/** The node that created the CSR; undefined for another requestor. */
export function nodeOf({ username }: ServingCsr): string | undefined {
  return nodeOfUser(username);
}

/**
 * SHA-256 over the public key, as in ServingRequest. Reads only what it needs and verifies
 * nothing, because this runs for every CSR of the cluster. Undefined for a malformed request,
 * which no check approves.
 */
export function keyDigestOf({ request }: ServingCsr): string | undefined {
  try {
    const text = Buffer.from(request).toString('latin1');
    const [, base64 = ''] = /-----BEGIN CERTIFICATE REQUEST-----([^-]*)-----END/.exec(text) ?? [];
    const [outer] = readDer(Buffer.from(base64, 'base64'));
    const [info] = readDer(contentOf(outer));
    const [, , key] = readDer(contentOf(info));
    return key && createHash('sha256').update(key.encoded).digest('base64url');
  } catch {
    return undefined;
  }
}
