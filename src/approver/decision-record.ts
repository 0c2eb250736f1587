import type { ApproverPolicy } from '../core/approver-policy.ts';
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

export const approverAnnotation = 'nodecertd.io/approver';
const longestAnnotation = 2048;

export interface RecordRequest {
  readonly csr: WatchedCsr;
  readonly decision: Decision & { readonly outcome: 'approve' | 'deny' };
  readonly basis: DecisionBasis;
  readonly mode: ApproverPolicy['mode'];
}

/**
 * Writes a decision with one PUT, which the API server refuses with API_CONFLICT if the CSR has
 * changed or was replaced. Without the version it would overwrite the decision of a person
 * (k8s.io/kubernetes pkg/registry/certificates/certificates/strategy.go). Returns the CSR as stored.
 * @throws AgentError as KubeClient.request
 */
export async function recordDecision(
  client: Pick<KubeClient, 'request'>,
  { csr, decision, basis, mode }: RecordRequest,
  signal: AbortSignal,
): Promise<WatchedCsr> {
  return client.request(
    {
      verb: 'update',
      path: `${csrCollection}/${encodeURIComponent(csr.name)}/approval`,
      ...(mode === 'observe' && { query: { dryRun: 'All' } }),
      body: bodyOf(csr, decision, basis),
      signal,
    },
    watchedCsrSchema,
  );
}

/** Without the spec, which the API server does not change here. */
function bodyOf(
  csr: WatchedCsr,
  { outcome, code, message }: RecordRequest['decision'],
  basis: DecisionBasis,
): object {
  const type = outcome === 'approve' ? 'Approved' : 'Denied';
  const annotations = { ...csr.annotations, [approverAnnotation]: annotationOf(basis) };
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { ...csr.metadata, annotations },
    status: {
      conditions: [...csr.conditions, { type, status: 'True', reason: code, message }],
    },
  };
}

function annotationOf(basis: DecisionBasis): string {
  const text = JSON.stringify(basis);
  if (Buffer.byteLength(text) <= longestAnnotation) return text;
  return JSON.stringify({ policyDigest: basis.policyDigest });
}
