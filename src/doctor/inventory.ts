import type { DoctorFinding, FindingId, Severity } from '../core/findings.ts';

/** A problem of certificates in files or at endpoints, with its cause fixed by one remedy. */
export interface CertificateProblem {
  readonly state: keyof typeof meanings;
  readonly what: string;
  readonly remedy: string;
  /** False for files that no program of this node uses, or that only this user may not read. */
  readonly isUrgent: boolean;
}

/** The certificates of this node in files and at endpoints, except those that other checks cover. */
export interface InventoryFacts {
  readonly count: number;
  readonly problems: readonly CertificateProblem[];
  /**
   * What the agent needs to renew expired or expiring certificates. Absent if there are none, or the
   * agent renews them already (`pki.enabled`).
   */
  readonly unattended?: UnattendedNeeds;
}

/** What only the drop-in of the unit allows. */
export interface UnattendedNeeds {
  /** A file that does not belong to root. */
  readonly foreign?: string;
  /** Folders that the service cannot write. */
  readonly outside: readonly string[];
}

interface Meaning {
  readonly id: FindingId;
  readonly severity: Extract<Severity, 'error' | 'warning'>;
  readonly why: string;
}

/** By the states of `certs check-expiration`: exit code 4 is an error, 3 is a warning. */
const meanings = {
  expired: {
    id: 'inventory-expired',
    severity: 'error',
    why: 'Clients and servers reject an expired certificate',
  },
  'not-yet-valid': {
    id: 'inventory-not-yet-valid',
    severity: 'error',
    why: 'Peers reject the certificate: the clock of this node or of the issuing machine is wrong',
  },
  missing: {
    id: 'inventory-missing',
    severity: 'error',
    why: 'A program that needs the file does not start',
  },
  unreadable: {
    id: 'inventory-unreadable',
    severity: 'error',
    why: 'A program that needs the file fails, and the doctor cannot check it',
  },
  'key-mismatch': {
    id: 'inventory-key-mismatch',
    severity: 'error',
    why: 'A server with this certificate does not start',
  },
  'wrong-ca': {
    id: 'inventory-wrong-ca',
    severity: 'error',
    why: 'Peers that trust the CAs of this node reject the certificate',
  },
  'stale-served': {
    id: 'inventory-stale-served',
    severity: 'error',
    why: 'Clients still get the previous certificate, which expires earlier',
  },
  expiring: {
    id: 'inventory-expiring',
    severity: 'warning',
    why: 'Clients and servers reject the certificate when it has expired',
  },
  overdue: {
    id: 'inventory-overdue',
    severity: 'warning',
    why: 'The rotation fails, or the kubelet does not rotate its certificates',
  },
  'stale-copy': {
    id: 'inventory-stale-copy',
    severity: 'warning',
    why: 'The old copy stops working when it expires',
  },
  'ca-ends-first': {
    id: 'inventory-ca-ends-first',
    severity: 'warning',
    why: 'No certificate of the CA is valid after the CA has expired',
  },
  mode: {
    id: 'inventory-mode',
    severity: 'warning',
    why: 'Every user of the node can act with the private key',
  },
} as const satisfies Readonly<Record<string, Meaning>>;

export function inventoryFindings(facts: InventoryFacts): DoctorFinding[] {
  const { count, problems, unattended } = facts;
  if (problems.length > 0) {
    return [
      ...problems.map(findingOf),
      ...(unattended === undefined ? [] : [unattendedFinding(unattended)]),
    ];
  }
  if (count === 0) return [];
  const certificates = count === 1 ? '1 certificate' : `${count} certificates`;
  return [
    {
      id: 'inventory',
      severity: 'ok',
      what: `${certificates} in files and at endpoints of this node need no attention`,
    },
  ];
}

function unattendedFinding(needs: UnattendedNeeds): DoctorFinding {
  return {
    id: 'inventory-unattended',
    severity: 'info',
    what: 'the agent does not renew the certificates of the control plane (pki.enabled is false)',
    remedy: `Let the agent renew them when they are due: set pki.enabled to true in its configuration${dropIn(needs)}`,
  };
}

function dropIn({ foreign, outside }: UnattendedNeeds): string {
  if (foreign === undefined && outside.length === 0) return '';
  return [
    ', and install control-plane.conf',
    'the drop-in of its unit',
    ...(outside.length > 0 ? [`with ReadWritePaths=${outside.join(' ')}`] : []),
    ...(foreign === undefined ? [] : [`because ${foreign} does not belong to root`]),
  ].join(', ');
}

function findingOf({ state, what, remedy, isUrgent }: CertificateProblem): DoctorFinding {
  const { id, severity, why } = meanings[state];
  return {
    id,
    severity: isUrgent ? severity : 'warning',
    what,
    why,
    remedy: withoutDoctor(remedy),
  };
}

/** The inventory itself refers to the doctor. */
function withoutDoctor(remedy: string): string {
  return remedy.replace('nodecertd doctor', 'journalctl -u kubelet');
}
