import { kubeletClientSigner, kubeletServingSigner } from '../core/certificate-spec.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, minute } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { approvalRemedy } from '../core/remedies.ts';
import type { ListedCsr } from '../kube/csr-list.ts';
import { verdictOf } from '../kube/csr-object.ts';

/** The CSRs for this node, created by the node itself or by a bootstrapper. */
export interface RequestFacts {
  readonly csrs: readonly ListedCsr[];
  /** The cluster has more CSRs than were read. */
  readonly truncated: boolean;
}

/** Matches CSRs created by the node itself, and CSRs of bootstrappers with its name. */
export function isOfNode(nodeName: string): (csr: ListedCsr) => boolean {
  const user = `system:node:${nodeName}`;
  // The DER length (X.690 8.1.3) comes first, so that `n1` does not match `n10`.
  const length = user.length < 0x80 ? [user.length] : [0x81, user.length];
  const mark = Buffer.from([...length, ...Buffer.from(user)]);
  return ({ username, request }) => username === user || derOf(request).includes(mark);
}

/** A malformed CSR of another client must not abort the list. */
function derOf(request: Uint8Array): Buffer {
  try {
    return Buffer.from(parsePem(request)[0]?.der ?? []);
  } catch {
    return Buffer.alloc(0);
  }
}

/** Controllers act within seconds; a CSR that waits longer is stuck. */
const stuckAfter = minute;

/** Stuck CSRs: the age of each, the reason, and the command that helps. */
export function requestFindings({ csrs, truncated }: RequestFacts, now: Instant): DoctorFinding[] {
  const findings = [...Map.groupBy(csrs, ({ signerName }) => signerName).values()].flatMap(
    (ofSigner) => signerFindings(ofSigner, now),
  );
  if (findings.length > 0) return findings;
  const what = `no CSR of this node is stuck (${csrs.length} found${truncated ? '; the cluster has more CSRs than were read' : ''})`;
  return [{ id: 'requests', severity: truncated ? 'info' : 'ok', what }];
}

/** Only the latest CSR of a signer counts; earlier ones belong to earlier attempts. */
function signerFindings(csrs: readonly ListedCsr[], now: Instant): DoctorFinding[] {
  const [latest, ...earlier] = [...csrs].sort((a, b) => b.createdAt - a.createdAt);
  if (latest === undefined) return [];
  const waiting = earlier.filter(({ status }) => verdictOf(status).kind === 'pending').length;
  const verdict = verdictOf(latest.status, latest.note);
  switch (verdict.kind) {
    case 'issued':
      return [];
    case 'pending':
      return [verdict.approved ? unissued(latest, now) : pending(latest, { now, waiting })];
    case 'denied':
    case 'failed':
      return [refused(latest, verdict)];
    default:
      return verdict satisfies never;
  }
}

function pending(
  { name, signerName, createdAt, username, note }: ListedCsr,
  { now, waiting }: { readonly now: Instant; readonly waiting: number },
): DoctorFinding {
  const age = now - createdAt;
  const others = waiting === 0 ? '' : `, with ${waiting} earlier pending for the same signer`;
  const finding = {
    id: 'request-pending',
    severity: age < stuckAfter ? 'info' : 'warning',
    subject: name,
    what: `CSR ${name} for ${signerName} has been pending for ${formatDuration(age)}${others}`,
  } as const;
  if (note?.outcome === 'hold') {
    const { reason, message, remedy } = note;
    return { ...finding, why: `nodecertd approver holds it: ${reason}: ${message}`, remedy };
  }
  const why = whoApproves(signerName, username);
  return { ...finding, why, remedy: approvalRemedy(name, signerName) };
}

function whoApproves(signerName: string, username: string): string {
  if (signerName === kubeletServingSigner) {
    return 'Kubernetes never approves serving certificates: a person or an approver that checks the addresses must. The cluster deletes the CSR after 24 hours';
  }
  if (signerName === kubeletClientSigner) {
    const subresource = username.startsWith('system:node:') ? 'selfnodeclient' : 'nodeclient';
    return `kube-controller-manager approves it if ${username} may create certificatesigningrequests/${subresource} and the certificatesigningrequest-approving-controller is running`;
  }
  return `The operator of the signer ${signerName} decides who approves its CSRs. The cluster deletes the CSR after 24 hours`;
}

function unissued(
  { name, signerName, createdAt, decidedAt }: ListedCsr,
  now: Instant,
): DoctorFinding {
  const age = now - (decidedAt ?? createdAt);
  const builtIn = signerName === kubeletClientSigner || signerName === kubeletServingSigner;
  return {
    id: 'request-unissued',
    severity: age < stuckAfter ? 'info' : 'error',
    subject: name,
    what: `CSR ${name} for ${signerName} was approved ${formatDuration(age)} ago but has not been issued`,
    why: builtIn
      ? 'The signing controller of kube-controller-manager is down, lacks --cluster-signing-cert-file, or has an expired CA'
      : `The signer ${signerName} does not act`,
    remedy: builtIn
      ? 'Check kube-controller-manager: kubectl -n kube-system get pods -l component=kube-controller-manager; kubectl -n kube-system logs -l component=kube-controller-manager | grep certificate'
      : `Check that the signer ${signerName} is running and has its key`,
  };
}

function refused(
  { name, signerName }: ListedCsr,
  verdict: {
    readonly kind: 'denied' | 'failed';
    readonly reason: string;
    readonly message: string;
    readonly remedy?: string;
  },
): DoctorFinding {
  const reason = [verdict.reason, verdict.message].filter((part) => part !== '').join(': ');
  const denied = verdict.kind === 'denied';
  const { remedy = `Find the reason and fix it: kubectl describe csr ${name}` } = verdict;
  return {
    id: denied ? 'request-denied' : 'request-failed',
    severity: 'error',
    subject: name,
    what: `CSR ${name} for ${signerName} ${denied ? 'was denied' : 'failed'}: ${reason || 'no reason given'}`,
    why: denied
      ? 'The agent waits for hours before it requests the certificate again, because the approver would deny it again'
      : 'The signer rejects the request and would reject it again',
    remedy: `${remedy}; then request again at once: systemctl restart nodecertd`,
  };
}
