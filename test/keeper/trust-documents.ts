import { trustDocument } from '../../src/core/trust-document.ts';
import type {
  ReportedAuthority,
  ReportedLeaf,
  TrustOutcome,
  TrustReport,
} from '../../src/core/trust-report.ts';

export const oldCa: ReportedAuthority = {
  fingerprint: '01'.repeat(32),
  pin: `sha256:${'a1'.repeat(32)}`,
  subject: 'CN=kubernetes',
  notAfter: Date.UTC(2026, 5, 1),
  isHeld: true,
  isWanted: true,
};

export const newCa: ReportedAuthority = {
  ...oldCa,
  fingerprint: '02'.repeat(32),
  pin: `sha256:${'b2'.repeat(32)}`,
  subject: 'CN=kubernetes-2026-01',
  notAfter: Date.UTC(2036, 0, 1),
};

/** The client certificate, issued by the old CA. */
export const clientLeaf: ReportedLeaf = {
  name: 'kubelet-client',
  path: '/var/lib/kubelet/pki/kubelet-client-current.pem',
  issuer: oldCa.fingerprint,
  isBehind: false,
};

/** A node that trusts one CA. */
export function trustReport(changes: Partial<TrustReport> = {}): TrustReport {
  const fingerprints = [oldCa.fingerprint];
  return {
    outcome: 'in-sync',
    stage: 'single',
    authorities: [oldCa],
    places: [
      {
        kind: 'kubelet-kubeconfig',
        path: '/etc/kubernetes/kubelet.conf',
        file: '/etc/kubernetes/pki/ca.crt',
        isKept: true,
        authorities: fingerprints,
      },
    ],
    sources: [
      {
        kind: 'cluster-trust-bundle',
        name: 'kubernetes.io:kube-apiserver-serving:1',
        outcome: 'read',
        authorities: fingerprints,
      },
    ],
    leaves: [clientLeaf],
    reader: { state: 'current' },
    findings: [],
    ...changes,
  };
}

const exitCodes: Readonly<Record<TrustOutcome, number>> = {
  'in-sync': 0,
  changed: 0,
  waiting: 3,
  refused: 1,
  failed: 1,
};

/** A shell script that prints the report and exits as `trust sync --unattended` does. */
export function printsReport(report: TrustReport): string {
  const text = JSON.stringify(trustDocument(report));
  return `cat <<'END'\n${text}\nEND\nexit ${exitCodes[report.outcome]}`;
}
