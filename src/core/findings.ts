/**
 * What the checks before and beside the agent's work can find. The ids are stable:
 * scripts and alerts are written against them, and docs/doctor.md explains each.
 * Under every heading stands what is examined together.
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
    'api-identity-refused',
    'api-troubled',
    'clock-skew',
  ],
  permissions: ['permissions', 'permission-missing', 'approval-not-permitted'],
  requests: ['requests', 'request-pending', 'request-unissued', 'request-denied', 'request-failed'],
  agent: ['agent', 'second-agent', 'host-name-missing', 'metrics-port-taken'],
  checks: ['not-checked'],
} as const;

export type FindingGroup = keyof typeof findingGroups;
export type FindingId = (typeof findingGroups)[FindingGroup][number];

/**
 * From worst to best. An error is in the way of certificates now, a warning will be
 * later or needs a person's eye, info is worth knowing, ok was looked at and is fine.
 */
export const severities = ['error', 'warning', 'info', 'ok'] as const;
export type Severity = (typeof severities)[number];

/** Plain data: it crosses the process boundary and enters status, log and metrics. Never a secret. */
export interface DoctorFinding {
  readonly id: FindingId;
  readonly severity: Severity;
  /** The certificate, file or request that it is about, where there can be several. */
  readonly subject?: string;
  /** One sentence without a final period. */
  readonly what: string;
  /** What comes of leaving it as it is. */
  readonly why?: string;
  /** What to do about it: a command where there is one. */
  readonly remedy?: string;
}

/** Which heading a finding stands under. */
export function groupOf(id: FindingId): FindingGroup {
  const entries = Object.entries(findingGroups) as [FindingGroup, readonly FindingId[]][];
  return entries.find(([, ids]) => ids.includes(id))?.[0] ?? 'checks';
}

/** How many findings there are of each severity, every severity named. */
export function countBySeverity(findings: readonly DoctorFinding[]): Record<Severity, number> {
  const counts = { error: 0, warning: 0, info: 0, ok: 0 };
  for (const { severity } of findings) counts[severity] += 1;
  return counts;
}
