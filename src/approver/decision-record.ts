import * as v from 'valibot';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { printable } from '../core/printable.ts';
import type { ApproverNote } from '../kube/approver-note.ts';
import { approverAnnotation, longestNote } from '../kube/approver-note.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import type { Decision } from './decision.ts';
import type { WatchedCsr } from './watched-csr.ts';
import { csrCollection, watchedCsrSchema } from './watched-csr.ts';

/** The facts that a decision used, for the annotation. */
export interface DecisionBasis {
  readonly policyDigest: string;
  /** Versions by source: `node`, `inventory`, `machine`. */
  readonly sources: Readonly<Record<string, string>>;
}

/** A hold is no condition; only its reason is recorded. */
export type RecordedDecision = Decision & { readonly outcome: 'approve' | 'deny' | 'hold' };

export interface RecordRequest {
  readonly csr: WatchedCsr;
  readonly decision: RecordedDecision;
  readonly basis: DecisionBasis;
  readonly mode: ApproverPolicy['mode'];
}

/**
 * Writes a decision with one PUT, which the API server refuses with API_CONFLICT if the CSR has
 * changed or was replaced. Without the version it would overwrite the decision of a person
 * (k8s.io/kubernetes pkg/registry/certificates/certificates/strategy.go). Returns the CSR as stored
 * after a hold, because the CSR stays pending.
 * @throws AgentError as KubeClient.request
 */
export async function recordDecision(
  client: Pick<KubeClient, 'request'>,
  { csr, decision, basis, mode }: RecordRequest,
  signal: AbortSignal,
): Promise<WatchedCsr | undefined> {
  return client.request(
    {
      verb: 'update',
      path: `${csrCollection}/${encodeURIComponent(csr.name)}/approval`,
      ...(mode === 'observe' && { query: { dryRun: 'All' } }),
      body: bodyOf(csr, decision, basis),
      signal,
    },
    decision.outcome === 'hold' ? watchedCsrSchema : storedSchema,
  );
}

/** Checks that the answer is an object of the API server, at little cost. */
const storedSchema = v.pipe(
  v.object({ metadata: v.object({ uid: v.string(), resourceVersion: v.string() }) }),
  v.transform(() => undefined),
);

/** Without the spec, which the API server does not change here. */
function bodyOf(csr: WatchedCsr, decision: RecordedDecision, basis: DecisionBasis): object {
  const annotations = { ...csr.annotations, [approverAnnotation]: annotationOf(decision, basis) };
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { ...csr.metadata, annotations },
    status: { conditions: [...csr.conditions, ...conditionOf(decision)] },
  };
}

function conditionOf({ outcome, code, message }: RecordedDecision): object[] {
  if (outcome === 'hold') return [];
  const type = outcome === 'approve' ? 'Approved' : 'Denied';
  return [{ type, status: 'True', reason: code, message }];
}

/** Keeps to the limit by leaving out versions first. */
function annotationOf(decision: RecordedDecision, basis: DecisionBasis): string {
  const note = noteOf(decision);
  const { policyDigest } = basis;
  const forms = [
    { ...basis, ...note },
    { policyDigest, ...note },
  ].map((form) => JSON.stringify(form));
  return (
    forms.find((text) => Buffer.byteLength(text) <= longestNote) ?? JSON.stringify({ policyDigest })
  );
}

/** For the node, which can read neither the policy nor Events. */
function noteOf({ outcome, code, finding }: RecordedDecision): ApproverNote | undefined {
  if (outcome === 'approve' || finding === undefined) return undefined;
  const [message, remedy] = [printable(finding.message, 500), printable(finding.remedy, 300)];
  return { outcome, reason: code, message, remedy };
}
