import { kubeletClientSigner, kubeletServingSigner } from '../core/certificate-spec.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, minute } from '../core/instant.ts';
import { parsePem } from '../core/pem.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { ListedCsr } from '../kube/csr-list.ts';
import { verdictOf } from '../kube/csr-object.ts';

/** The requests of this node, whoever made them. */
export interface RequestFacts {
  readonly csrs: readonly ListedCsr[];
  /** The cluster has more requests than were read. */
  readonly truncated: boolean;
}

/** A request made by the node itself, or for its name by a bootstrapper. */
export function isOfNode(nodeName: string): (csr: ListedCsr) => boolean {
  const user = `system:node:${nodeName}`;
  // With its length in DER (X.690 8.1.3) before it: `n1` must not be found in `n10`.
  const length = user.length < 0x80 ? [user.length] : [0x81, user.length];
  const mark = Buffer.from([...length, ...Buffer.from(user)]);
  return ({ username, request }) => username === user || derOf(request).includes(mark);
}

/** Nobody else's malformed request may end the list. */
function derOf(request: Uint8Array): Buffer {
  try {
    return Buffer.from(parsePem(request)[0]?.der ?? []);
  } catch {
    return Buffer.alloc(0);
  }
}

/** A controller needs seconds; what takes longer than this is stuck. */
const patience = minute;

/** Why a request is stuck: who would have to act, since when, and how to do it for them. */
export function requestFindings({ csrs, truncated }: RequestFacts, now: Instant): DoctorFinding[] {
  const findings = [...Map.groupBy(csrs, ({ signerName }) => signerName).values()].flatMap(
    (ofSigner) => signerFindings(ofSigner, now),
  );
  if (findings.length > 0) return findings;
  const what = `no request of this node is stuck (${csrs.length} found${truncated ? '; the cluster has more than were read' : ''})`;
  return [{ id: 'requests', severity: truncated ? 'info' : 'ok', what }];
}

/** The latest request counts; earlier ones of the same signer are what is left of earlier tries. */
function signerFindings(csrs: readonly ListedCsr[], now: Instant): DoctorFinding[] {
  const [latest, ...earlier] = [...csrs].sort((a, b) => b.createdAt - a.createdAt);
  if (latest === undefined) return [];
  const waiting = earlier.filter(({ status }) => verdictOf(status).kind === 'pending').length;
  const verdict = verdictOf(latest.status);
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
  { name, signerName, createdAt, username }: ListedCsr,
  { now, waiting }: { readonly now: Instant; readonly waiting: number },
): DoctorFinding {
  const age = now - createdAt;
  const others = waiting === 0 ? '' : `, and ${waiting} earlier of the same signer`;
  return {
    id: 'request-pending',
    severity: age < patience ? 'info' : 'warning',
    subject: name,
    what: `request ${name} for ${signerName} waits for an approver since ${formatDuration(age)}${others}`,
    why: whoApproves(signerName, username),
    remedy: `kubectl certificate approve ${name}`,
  };
}

function whoApproves(signerName: string, username: string): string {
  if (signerName === kubeletServingSigner) {
    return 'Nobody approves serving certificates by itself: it takes a person, or an approver that checks the addresses. After 24 hours the request is deleted';
  }
  if (signerName === kubeletClientSigner) {
    const subresource = username.startsWith('system:node:') ? 'selfnodeclient' : 'nodeclient';
    return `kube-controller-manager approves it if ${username} may create certificatesigningrequests/${subresource}, and its controller certificatesigningrequest-approving-controller runs`;
  }
  return `Whoever runs the signer ${signerName} says who approves. After 24 hours the request is deleted`;
}

function unissued(
  { name, signerName, createdAt, decidedAt }: ListedCsr,
  now: Instant,
): DoctorFinding {
  const age = now - (decidedAt ?? createdAt);
  const builtIn = signerName === kubeletClientSigner || signerName === kubeletServingSigner;
  return {
    id: 'request-unissued',
    severity: age < patience ? 'info' : 'error',
    subject: name,
    what: `request ${name} for ${signerName} is approved since ${formatDuration(age)} and not issued`,
    why: builtIn
      ? 'The signing controller of kube-controller-manager does not act: it is down, lacks --cluster-signing-cert-file, or its CA has expired'
      : `Whoever signs for ${signerName} does not act`,
    remedy: builtIn
      ? 'kubectl -n kube-system get pods -l component=kube-controller-manager; kubectl -n kube-system logs -l component=kube-controller-manager | grep certificate'
      : `See that the signer of ${signerName} runs and has its key`,
  };
}

function refused(
  { name, signerName }: ListedCsr,
  verdict: {
    readonly kind: 'denied' | 'failed';
    readonly reason: string;
    readonly message: string;
  },
): DoctorFinding {
  const told = [verdict.reason, verdict.message].filter((part) => part !== '').join(': ');
  const denied = verdict.kind === 'denied';
  return {
    id: denied ? 'request-denied' : 'request-failed',
    severity: 'error',
    subject: name,
    what: `request ${name} for ${signerName} ${denied ? 'was denied' : 'failed'}: ${told || 'no reason given'}`,
    why: denied
      ? 'The agent asks again in hours only, since whoever denied it would do so again'
      : 'The signer refuses what is asked for, and would refuse it again',
    remedy: `kubectl describe csr ${name}; then correct what it names and systemctl restart nodecertd to ask again at once`,
  };
}
