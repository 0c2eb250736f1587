import type { Instant } from '../core/instant.ts';
import type { CsrReference } from '../core/enroller-protocol.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import { approvalRemedy } from '../core/remedies.ts';
import type { CertificateReport } from './status-report.ts';

export interface WaitReason {
  readonly what: string;
  /** An imperative with the command. */
  readonly remedy?: string;
}

/** Why a certificate is waiting although nothing failed; undefined if it is not waiting. */
export function waitReason(entry: CertificateReport, now: Instant): WaitReason | undefined {
  const { name, csr, facts, failure, state, signerName } = entry;
  switch (state) {
    case 'pending-approval':
      return csr && approvalReason(csr, { signerName, now });
    case 'pending-issuance':
      if (csr === undefined) return undefined;
      return {
        what: `CSR ${csr.name} is approved but not issued yet`,
        remedy: `Check that its signer is running: kubectl describe csr ${csr.name}`,
      };
    case 'waiting-for-addresses':
      // If the Node could not be read, the failure has the reason.
      if (failure !== undefined) return undefined;
      return {
        what: 'the Node has no IP address yet, and a serving certificate needs one',
        remedy:
          'Check that the kubelet or the cloud controller sets the addresses: kubectl get node -o wide',
      };
    case 'waiting-for-identity':
      return { what: 'waiting for the client certificate' };
    case 'backing-off':
      if (failure !== undefined) return undefined;
      return {
        what: 'earlier runs of the agent left unfinished CSRs, so the next CSR is delayed',
        remedy: `Request the certificate now: nodecertd renew ${name}; find out why the agent restarted: journalctl -u nodecertd`,
      };
    case 'not-yet-valid':
      return {
        what: `not valid ${facts === undefined ? 'yet' : `before ${formatInstant(facts.notBefore)}`} by the clock of this node`,
        remedy: 'Check the clock: timedatectl',
      };
    case 'observing':
      return {
        what: 'the kubelet rotates this certificate; nodecertd only observes it',
        remedy: 'Let nodecertd rotate it with: nodecertd adopt',
      };
    case 'starting':
    case 'valid':
    case 'requesting':
    case undefined:
      return undefined;
    default:
      return state satisfies never;
  }
}

/** With the reason of nodecertd approver, if it has written one into the CSR. */
function approvalReason(
  { name, createdAt, hold }: CsrReference,
  { signerName = '', now }: { readonly signerName: string | undefined; readonly now: Instant },
): WaitReason {
  const what = `CSR ${name} has been pending for ${formatDuration(now - createdAt)}`;
  if (hold === undefined) return { what, remedy: approvalRemedy(name, signerName) };
  const { reason, message, remedy } = hold;
  return { what: `${what}; nodecertd approver holds it: ${reason}: ${message}`, remedy };
}
