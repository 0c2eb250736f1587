import type { PairFacts } from '../../src/core/certificate.ts';
import type { AgentStatus, CertificateStatus } from '../../src/core/status.ts';

export const start = Date.UTC(2026, 0, 1, 12);

export function pairFacts(change: Partial<PairFacts> = {}): PairFacts {
  return {
    serial: '4f2a91c0aabbccdd',
    subject: { commonName: 'system:node:worker-1', organizations: ['system:nodes'] },
    issuer: 'CN=ca',
    dnsNames: [],
    ipAddresses: [],
    otherNames: [],
    usages: ['client auth'],
    notBefore: start - 300_000,
    notAfter: start + 100_000,
    selfSigned: false,
    path: '/pki/kubelet-client-2026-01-01-12-00-00.pem',
    storedAt: start,
    ...change,
  };
}

export function certificateStatus(change: Partial<CertificateStatus> = {}): CertificateStatus {
  return {
    name: 'kubelet-client',
    signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
    state: 'valid',
    since: start,
    path: '/pki/kubelet-client-current.pem',
    current: pairFacts(),
    rotationDeadline: start + 80_000,
    usable: true,
    overdue: false,
    attempts: 0,
    rotations: 1,
    ...change,
  };
}

export function agentStatus(
  now: number,
  certificates: readonly CertificateStatus[] = [certificateStatus()],
): AgentStatus {
  return {
    version: '0.1.0',
    pid: 7,
    nodeName: 'worker-1',
    startedAt: start,
    now,
    certificateDirectory: '/pki',
    certificates,
  };
}
