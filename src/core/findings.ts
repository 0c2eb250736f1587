/**
 * Every finding of the doctor checks, under its heading in the report. The ids are stable,
 * because scripts and alerts depend on them. docs/doctor.md explains each.
 */
export const findingGroups = {
  'certificate directory': [
    'certificate-directory',
    'certificate-directory-invalid',
    'certificate-directory-volatile',
    'certificate-directory-permissions',
    'certificate-directory-unwritable',
    'certificate-directory-full',
  ],
  certificates: [
    'pair',
    'pair-missing',
    'pair-dangling',
    'pair-plain-file',
    'pair-damaged',
    'pair-unreadable',
    'pair-permissions',
    'pair-expired',
    'pair-expiring',
    'pair-not-yet-valid',
    'pair-self-signed',
    'node-name-mismatch',
  ],
  inventory: [
    'inventory',
    'inventory-expired',
    'inventory-not-yet-valid',
    'inventory-missing',
    'inventory-unreadable',
    'inventory-key-mismatch',
    'inventory-wrong-ca',
    'inventory-stale-served',
    'inventory-expiring',
    'inventory-overdue',
    'inventory-stale-copy',
    'inventory-ca-ends-first',
    'inventory-mode',
    'inventory-unattended',
  ],
  kubeconfig: [
    'kubeconfig',
    'kubeconfig-missing',
    'kubeconfig-invalid',
    'kubeconfig-stale',
    'kubeconfig-expired',
    'kubeconfig-permissions',
    'kubeconfig-insecure',
    'plugin-failed',
    'cluster-ca-expired',
    'cluster-ca-expiring',
  ],
  bootstrap: [
    'bootstrap-credential',
    'bootstrap-missing',
    'bootstrap-invalid',
    'bootstrap-expired',
    'bootstrap-expiring',
    'bootstrap-refused',
    'bootstrap-leftover',
  ],
  kubelet: [
    'kubelet-config',
    'kubelet-config-invalid',
    'kubelet-rotates',
    'second-rotator',
    'kubelet-serves-other-pair',
  ],
  hooks: ['hooks', 'hooks-refused', 'hook-refused', 'hook-missing'],
  'API server': [
    'api-server',
    'api-unreachable',
    'api-untrusted',
    'trust-lost',
    'api-identity-refused',
    'api-troubled',
    'clock-skew',
  ],
  'trusted CAs': ['trust', 'trust-problem', 'trust-step'],
  permissions: ['permissions', 'permission-missing', 'approval-not-permitted'],
  requests: ['requests', 'request-pending', 'request-unissued', 'request-denied', 'request-failed'],
  agent: ['agent', 'second-agent', 'host-name-missing', 'metrics-port-taken'],
  checks: ['not-checked'],
} as const;

export type FindingGroup = keyof typeof findingGroups;
export type FindingId = (typeof findingGroups)[FindingGroup][number];

/**
 * From worst to best. An error prevents the cluster from issuing a certificate or programs from
 * using it. A warning will become an error or needs a manual check. Info needs no action, and ok
 * is a check that passed.
 */
export const severities = ['error', 'warning', 'info', 'ok'] as const;
export type Severity = (typeof severities)[number];

/** Plain data without secrets: it crosses the process boundary and enters status, log, and metrics. */
export interface DoctorFinding {
  readonly id: FindingId;
  readonly severity: Severity;
  /** The certificate, file, or CSR, if there can be several. */
  readonly subject?: string;
  /** What is wrong, on what, and the value found. One sentence without a final period. */
  readonly what: string;
  /** The consequence if the problem remains. */
  readonly why?: string;
  /** An imperative, with the command if there is one. */
  readonly remedy?: string;
}

/** The heading of a finding in the report. */
export function groupOf(id: FindingId): FindingGroup {
  const entries = Object.entries(findingGroups) as [FindingGroup, readonly FindingId[]][];
  return entries.find(([, ids]) => ids.includes(id))?.[0] ?? 'checks';
}

/** The number of findings of each severity, including zeros. */
export function countBySeverity(findings: readonly DoctorFinding[]): Record<Severity, number> {
  const counts = { error: 0, warning: 0, info: 0, ok: 0 };
  for (const { severity } of findings) counts[severity] += 1;
  return counts;
}
