import type { PairFacts } from '../../src/core/certificate.ts';
import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { day, hour, minute } from '../../src/core/instant.ts';
import type { AgentStatus, CertificateStatus, PkiStatus } from '../../src/core/status.ts';

/** The time of every status below. */
export const now = Date.UTC(2026, 0, 10, 12);

export function facts(changes: Partial<PairFacts> = {}): PairFacts {
  return {
    serial: '4f2a',
    subject: { commonName: 'system:node:worker-1', organizations: ['system:nodes'] },
    issuer: 'CN=kubernetes',
    dnsNames: [],
    ipAddresses: [],
    otherNames: [],
    usages: ['digital signature', 'client auth'],
    notBefore: now - 10 * day,
    notAfter: now + 30 * day,
    selfSigned: false,
    path: '/var/lib/kubelet/pki/kubelet-client-2025-12-31-12-00-00.pem',
    storedAt: now - 10 * day,
    ...changes,
  };
}

export function client(changes: Partial<CertificateStatus> = {}): CertificateStatus {
  return {
    name: 'kubelet-client',
    signerName: kubeletClientSigner,
    state: 'valid',
    since: now - 10 * day,
    path: '/var/lib/kubelet/pki/kubelet-client-current.pem',
    current: facts(),
    rotationDeadline: now + 20 * day,
    usable: true,
    overdue: false,
    attempts: 0,
    rotations: 1,
    ...changes,
  };
}

/** A serving certificate that was never issued; its CSR is pending. */
export function server(changes: Partial<CertificateStatus> = {}): CertificateStatus {
  return {
    name: 'kubelet-server',
    signerName: kubeletServingSigner,
    state: 'pending-approval',
    since: now - 2 * hour,
    path: '/var/lib/kubelet/pki/kubelet-server-current.pem',
    usable: false,
    overdue: false,
    csr: { name: 'node-csr-abc', uid: 'b0b1', createdAt: now - 2 * hour },
    attempts: 0,
    rotations: 0,
    ...changes,
  };
}

export function agent(
  certificates: readonly CertificateStatus[],
  changes: Partial<AgentStatus> = {},
): AgentStatus {
  return {
    version: '1.2.3',
    pid: 4711,
    nodeName: 'worker-1',
    startedAt: now - 90 * minute,
    now,
    certificateDirectory: '/var/lib/kubelet/pki',
    certificates,
    ...changes,
  };
}

/** One hook succeeded and one failed; one endpoint serves the new certificate and one does not. */
export const followed: Pick<CertificateStatus, 'hooks' | 'served'> = {
  hooks: [
    { name: '/usr/local/bin/deploy', succeededAt: now - hour },
    {
      name: 'reload nginx.service',
      succeededAt: now - day,
      failure: {
        code: 'HOOK_FAILED',
        message: 'hook reload nginx.service failed with exit code 1',
        remedy: 'See its lines',
        at: now - hour,
      },
    },
  ],
  served: {
    at: now - minute,
    endpoints: [
      { endpoint: '127.0.0.1:10250', state: 'current' },
      { endpoint: '[::1]:10250', state: 'unreachable', reason: 'connect ECONNREFUSED' },
    ],
  },
};

/** Control-plane certificates that are not due. */
export function pki(changes: Partial<PkiStatus> = {}): PkiStatus {
  return {
    directory: '/etc/kubernetes',
    state: 'not-due',
    since: now - hour,
    problems: [],
    nextDue: { name: 'apiserver', time: now + 230 * day },
    lastSuccess: now - 30 * day,
    nextCheck: now + hour,
    ...changes,
  };
}
