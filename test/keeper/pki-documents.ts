import type { PkiConfig } from '../../src/core/config.ts';
import { kubeletWindow } from '../../src/core/schedule.ts';
import type { UnattendedRenewal } from '../../src/core/unattended-renewal.ts';

export const pkiConfig: PkiConfig = {
  directory: '/etc/kubernetes',
  rotationWindow: kubeletWindow,
  hooks: [],
};

/** A document of `certs renew --unattended`. */
export function renewalDocument(changes: Partial<UnattendedRenewal> = {}): UnattendedRenewal {
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'UnattendedRenewal',
    outcome: 'not-due',
    renewed: [],
    lastRenewals: changes.renewed ?? [],
    restarted: [],
    problems: [],
    nextDue: { name: 'apiserver', time: '2026-09-01T02:00:00Z' },
    ...changes,
  };
}

export const renewedDocument = renewalDocument({
  outcome: 'renewed',
  renewed: [
    { name: 'apiserver', serial: '4f2a', notAfter: '2027-01-01T00:00:00Z' },
    { name: 'scheduler.conf', serial: '4f2b', notAfter: '2027-01-01T00:00:00Z' },
  ],
  restarted: [{ component: 'kube-scheduler', seconds: 14 }],
  lastSuccess: '2026-01-01T00:00:00Z',
});

const exitCodes = { 'not-due': 0, renewed: 0, waiting: 3, refused: 1, failed: 1 } as const;

/** A shell script that prints the document and exits as the command does. */
export function prints(document: UnattendedRenewal): string {
  return `cat <<'END'\n${JSON.stringify(document)}\nEND\nexit ${exitCodes[document.outcome]}`;
}
