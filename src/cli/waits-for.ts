import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import type { CertificateReport } from './status-report.ts';

export interface Wait {
  readonly what: string;
  /** A command, or who can do something. */
  readonly remedy?: string;
}

/** What keeps a certificate from being renewed without anything having failed; undefined when nothing does. */
export function waitsFor(entry: CertificateReport, now: Instant): Wait | undefined {
  const { name, csr, facts, failure, state } = entry;
  switch (state) {
    case 'pending-approval':
      if (csr === undefined) return undefined;
      return {
        what: `request ${csr.name} waits for an approver since ${formatDuration(now - csr.createdAt)}`,
        remedy: `kubectl certificate approve ${csr.name}`,
      };
    case 'pending-issuance':
      if (csr === undefined) return undefined;
      return {
        what: `request ${csr.name} is approved, and not issued yet`,
        remedy: `see that its signer runs: kubectl describe csr ${csr.name}`,
      };
    case 'waiting-for-addresses':
      return {
        what: 'the Node has no IP address yet, which a serving certificate is for',
        remedy: 'see that the kubelet, or the cloud controller, sets it: kubectl get node -o wide',
      };
    case 'waiting-for-identity':
      return { what: 'waits for the client certificate' };
    case 'backing-off':
      if (failure !== undefined) return undefined;
      return {
        what: 'requests of earlier runs came to nothing, so the next one waits',
        remedy: `nodecertd renew ${name}, which asks at once; why the agent was restarted says: journalctl -u nodecertd`,
      };
    case 'not-yet-valid':
      return {
        what: `valid from ${facts === undefined ? 'a later time on' : formatInstant(facts.notBefore)}, by the clock of this node`,
        remedy: 'timedatectl',
      };
    case 'observing':
      return { what: 'rotated by the kubelet itself, and only watched', remedy: 'nodecertd adopt' };
    case 'starting':
    case 'valid':
    case 'requesting':
    case undefined:
      return undefined;
    default:
      return state satisfies never;
  }
}
