import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import { base64, timestamp } from '../kube/csr-object.ts';

/** The fields of a CertificateSigningRequest that the checks use. */
export interface ServingCsr {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly createdAt: Instant;
  readonly isDeleting: boolean;
  readonly signerName: string;
  readonly username: string;
  readonly groups: readonly string[];
  readonly usages: readonly string[];
  readonly expirationSeconds: number | undefined;
  /** PKCS #10 in PEM, as bytes that nothing has parsed yet. */
  readonly request: Uint8Array;
  readonly conditionTypes: readonly string[];
  readonly hasCertificate: boolean;
}

const texts = v.nullish(v.array(v.string()), []);

/**
 * The parts of a certificates.k8s.io/v1 CertificateSigningRequest. The metadata stay as they are,
 * because an update sends them back.
 */
export const servingCsrParts = {
  metadata: v.object({
    name: v.string(),
    uid: v.string(),
    resourceVersion: v.string(),
    creationTimestamp: timestamp,
    deletionTimestamp: v.nullish(v.string()),
  }),
  spec: v.object({
    request: base64,
    signerName: v.string(),
    username: v.nullish(v.string(), ''),
    groups: texts,
    usages: texts,
    expirationSeconds: v.nullish(v.number()),
  }),
  status: v.object({
    conditions: v.nullish(v.array(v.object({ type: v.string() })), []),
    certificate: v.nullish(v.string()),
  }),
};

type ServingCsrParts = {
  readonly [Part in keyof typeof servingCsrParts]: v.InferOutput<(typeof servingCsrParts)[Part]>;
};

export function toServingCsr({ metadata, spec, status }: ServingCsrParts): ServingCsr {
  return {
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    createdAt: Date.parse(metadata.creationTimestamp),
    isDeleting: (metadata.deletionTimestamp ?? '') !== '',
    signerName: spec.signerName,
    username: spec.username,
    groups: spec.groups,
    usages: spec.usages,
    expirationSeconds: spec.expirationSeconds ?? undefined,
    request: spec.request,
    conditionTypes: status.conditions.map(({ type }) => type),
    hasCertificate: (status.certificate ?? '') !== '',
  };
}

export const servingCsrSchema = v.pipe(
  v.object({ ...servingCsrParts, status: v.nullish(servingCsrParts.status, {}) }),
  v.transform(toServingCsr),
);
