import type { CsrFacts, CsrVerdict } from './csr-policy.ts';
import { nodeRestrictionVerdict, subjectRestrictionVerdict } from './csr-policy.ts';
import type { Instant } from '../../src/core/instant.ts';
import { formatInstant } from '../../src/core/instant.ts';
import type { CertificateRequest } from '../../src/core/x509.ts';
import type { Clock } from '../../src/sys/clock.ts';
import type { Condition, CsrObject } from './api-object.ts';
import { csrResource, qualifiedName } from './api-object.ts';
import type { User } from './authorization.ts';
import type { CsrBody } from './csr-validation.ts';
import {
  forbidden,
  invalid,
  invalidError,
  certificateCauses,
  parseCsrBody,
  required,
  validateNewCsr,
} from './csr-validation.ts';
import { newMetadata, updatedMetadata } from './object-meta.ts';
import type { ObjectStore } from './object-store.ts';
import type { Registry } from './registry.ts';
import type { StatusCause } from './status-error.ts';
import { StatusError } from './status-error.ts';

/** Creates a CSR for a user. Requestor and status in the body are ignored. @throws StatusError */
export async function newCsr(body: CsrBody, user: User, now: Instant): Promise<CsrObject> {
  const metadata = newMetadata(body.metadata, csrResource, now);
  const request = await validateNewCsr(metadata.name, body);
  const { expirationSeconds } = body.spec;
  const csr: CsrObject = {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata,
    spec: {
      request: body.spec.request,
      signerName: body.spec.signerName,
      ...(typeof expirationSeconds === 'number' && { expirationSeconds }),
      usages: body.spec.usages ?? [],
      username: user.username,
      groups: user.groups,
    },
    status: {},
  };
  const facts = csrFacts(csr, request);
  for (const verdict of [nodeRestrictionVerdict(facts), subjectRestrictionVerdict(facts)]) {
    admit(verdict, metadata.name);
  }
  return csr;
}

/** The CSR and its parsed request, as the policy needs them. */
export function csrFacts(csr: CsrObject, request: CertificateRequest): CsrFacts {
  const { signerName, usages, username, groups } = csr.spec;
  return { signerName, usages, username, groups, request };
}

/** The collection of CSRs, with its rules for writes. */
export function csrRegistry(store: ObjectStore<CsrObject>, clock: Clock): Registry<CsrObject> {
  return {
    resource: csrResource,
    store,
    create: async (body, user) => newCsr(parseCsrBody(body), user, clock.now()),
    update: (current, body, subresource) =>
      updatedCsr({ current, body: parseCsrBody(body), subresource, now: clock.now() }),
  };
}

export interface CsrUpdate {
  readonly current: CsrObject;
  readonly body: CsrBody;
  /** `approval` or `status`. Without a subresource, a write changes only labels and annotations. */
  readonly subresource: string | undefined;
  readonly now: Instant;
}

/**
 * Returns a CSR after a write. The spec never changes. `approval` sets conditions.
 * `status` sets other conditions, and the certificate once.
 * @throws StatusError Conflict or Invalid
 */
export function updatedCsr(update: CsrUpdate): CsrObject {
  const { current, body, subresource } = update;
  const metadata = updatedMetadata(body.metadata, current.metadata, csrResource);
  if (subresource === undefined) return { ...current, metadata };
  const conditions = stampedConditions(update);
  const certificate = body.status.certificate ?? undefined;
  const causes = [
    ...conditionCauses(conditions),
    ...removalCauses(current, conditions),
    ...(subresource === 'status' ? statusCauses(current, conditions, certificate) : []),
  ];
  if (causes.length > 0) throw invalidError(current.metadata.name, causes);
  const kept = subresource === 'status' ? certificate : current.status.certificate;
  return {
    ...current,
    metadata,
    status: { conditions, ...(kept !== undefined && { certificate: kept }) },
  };
}

const decisions = ['Approved', 'Denied'];
const finalTypes = [...decisions, 'Failed'];

/**
 * Returns the conditions of the body and adds missing times. A write through `status`
 * does not change the text of an existing decision.
 */
function stampedConditions({ current, body, subresource, now }: CsrUpdate): Condition[] {
  const stamp = formatInstant(now);
  return (body.status.conditions ?? []).map((condition) => {
    const decided = find(current.status.conditions, condition.type);
    if (subresource === 'status' && decisions.includes(condition.type) && decided) return decided;
    const before = current.status.conditions?.find(
      (candidate) => candidate.type === condition.type && candidate.status === condition.status,
    );
    return {
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? stamp,
      lastTransitionTime: condition.lastTransitionTime ?? before?.lastTransitionTime ?? stamp,
    };
  });
}

function conditionCauses(conditions: readonly Condition[]): StatusCause[] {
  const types = conditions.map((condition) => condition.type);
  const causes = conditions.flatMap((condition, index) => {
    const field = `status.conditions[${index}]`;
    const allowed = finalTypes.includes(condition.type) ? ['True'] : ['True', 'False', 'Unknown'];
    return [
      ...(condition.type === '' ? [required(`${field}.type`)] : []),
      ...(condition.status === '' ? [required(`${field}.status`)] : []),
      ...(condition.status !== '' && !allowed.includes(condition.status)
        ? [invalid(`${field}.status`, `Unsupported value: ${JSON.stringify(condition.status)}`)]
        : []),
      ...(types.indexOf(condition.type) < index
        ? [invalid(`${field}.type`, `Duplicate value: ${JSON.stringify(condition.type)}`)]
        : []),
    ];
  });
  return decisions.every((type) => types.includes(type))
    ? [
        ...causes,
        invalid(
          'status.conditions',
          'Invalid value: Approved and Denied conditions are mutually exclusive',
        ),
      ]
    : causes;
}

function removalCauses(current: CsrObject, conditions: readonly Condition[]): StatusCause[] {
  return finalTypes
    .filter((type) => find(current.status.conditions, type) && !find(conditions, type))
    .map((type) =>
      forbidden('status.conditions', `updates may not remove a condition of type "${type}"`),
    );
}

/** The status subresource cannot approve or deny, and a certificate is set only once. */
function statusCauses(
  current: CsrObject,
  conditions: readonly Condition[],
  certificate: string | undefined,
): StatusCause[] {
  const added = decisions
    .filter((type) => find(conditions, type) && !find(current.status.conditions, type))
    .map((type) =>
      forbidden('status.conditions', `updates may not add a condition of type "${type}"`),
    );
  const issued = current.status.certificate;
  if (issued === certificate) return added;
  const problem =
    issued === undefined && certificate !== undefined ? certificateCauses(certificate) : undefined;
  return [
    ...added,
    ...(problem ?? [
      forbidden('status.certificate', 'updates may not modify existing certificate content'),
    ]),
  ];
}

function find(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

function admit(verdict: CsrVerdict, name: string): void {
  if (verdict.ok) return;
  throw new StatusError(
    'Forbidden',
    `${qualifiedName(csrResource)} ${JSON.stringify(name)} is forbidden: ${verdict.message}`,
    { name, group: csrResource.group, kind: csrResource.plural },
  );
}
