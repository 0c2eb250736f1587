import type { CertificateSpec, CertificateTemplate } from '../../src/core/certificate-spec.ts';
import {
  kubeletClientSigner,
  kubeletServingSigner,
  nodeSubject,
} from '../../src/core/certificate-spec.ts';
import type { CertificateFacts, PairFacts } from '../../src/core/certificate.ts';
import { hour } from '../../src/core/instant.ts';
import { kubeletWindow } from '../../src/core/schedule.ts';

/** The moment at which the scenarios of this folder start. */
export const start = Date.UTC(2026, 0, 1);

export const clientTemplate: CertificateTemplate = {
  signerName: kubeletClientSigner,
  subject: nodeSubject('worker-1'),
  usages: ['digital signature', 'client auth'],
  key: 'ecdsa-p256',
  dnsNames: [],
  ipAddresses: [],
};

export const servingTemplate: CertificateTemplate = {
  ...clientTemplate,
  signerName: kubeletServingSigner,
  usages: ['digital signature', 'server auth'],
  dnsNames: ['worker-1'],
  ipAddresses: ['10.0.0.1'],
};

export const servingSpec: CertificateSpec = {
  name: 'kubelet-server',
  profile: 'kubelet-serving',
  signerName: kubeletServingSigner,
  subject: nodeSubject('worker-1'),
  usages: servingTemplate.usages,
  key: 'ecdsa-p256',
  rotationWindow: kubeletWindow,
  addresses: 'node',
  static: { dnsNames: [], ipAddresses: [] },
  selfSignedUntilIssued: false,
};

/** A certificate that matches the template exactly, valid for an hour from `start`. */
export function factsFor(
  template: CertificateTemplate,
  changes: Partial<CertificateFacts> = {},
): CertificateFacts {
  return {
    serial: '4f2a',
    subject: template.subject,
    issuer: 'CN=kubernetes-ca',
    dnsNames: template.dnsNames,
    ipAddresses: template.ipAddresses,
    otherNames: [],
    usages: template.usages,
    notBefore: start,
    notAfter: start + hour,
    selfSigned: false,
    ...changes,
  };
}

export function pairFor(
  template: CertificateTemplate,
  changes: Partial<PairFacts> = {},
): PairFacts {
  const facts = factsFor(template, changes);
  const path = `/var/lib/kubelet/pki/pair-${facts.serial}.pem`;
  return { path, storedAt: facts.notBefore, ...facts, ...changes };
}
