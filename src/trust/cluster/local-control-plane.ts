import { hash, X509Certificate } from 'node:crypto';
import type { ControlPlaneTrust } from '../../core/control-plane-annotation.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import type { Component } from '../../pki/components/component.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import type { ComponentLeaf } from './component-leaves.ts';
import { componentLeaves } from './component-leaves.ts';
import { readControlPlaneTrust } from './control-plane-trust.ts';
import type { KubeletClient, ProbedIssuer, RolloverAuthorities } from './gate.ts';
import { issuerOf } from './issued-by.ts';
import type { KeyMatch, TrustFile } from './local-trust.ts';
import { keyMatches, kubeconfigTrust, sideWithKeyOf, trustFile } from './local-trust.ts';

/** What the files of this control-plane node say about a rollover. */
export interface LocalControlPlane {
  /** False on other machines; everything else is empty then. */
  readonly isControlPlane: boolean;
  /** Certificates of components and administrators. */
  readonly leaves: readonly LocalLeaf[];
  readonly signingFiles: readonly ProbedIssuer[];
  readonly kubeletClient?: KubeletClient;
  /** The files that kube-apiserver and kube-controller-manager read CAs from. */
  readonly trustFiles: readonly TrustFile[];
  readonly kubeconfigs: readonly TrustFile[];
  readonly keys: readonly KeyMatch[];
  /** The same files as other nodes report them. */
  readonly trust?: ControlPlaneTrust;
}

export interface LocalLeaf extends ProbedIssuer {
  /** SHA-256 of the certificate, or its first digits. Absent if it is unreadable. */
  readonly fingerprint?: string;
}

export async function readLocalControlPlane(
  directories: KubernetesDirectories,
  authorities: RolloverAuthorities,
): Promise<LocalControlPlane> {
  const { components } = await findLocalNode(directories);
  const apiServer = components.find(({ name }) => name === 'kube-apiserver');
  const manager = components.find(({ name }) => name === 'kube-controller-manager');
  if (apiServer === undefined && manager === undefined) return elsewhere;
  const leaves = await componentLeaves(directories);
  const kubeletClient = kubeletClientOf(apiServer, authorities);
  return {
    isControlPlane: true,
    leaves: leaves.map((leaf) => localLeaf(leaf, authorities)),
    signingFiles: signingFile(manager, authorities),
    ...(kubeletClient !== undefined && { kubeletClient }),
    trustFiles: [
      ...trustFile(apiServer, 'client-ca-file', authorities),
      ...trustFile(apiServer, 'kubelet-certificate-authority', authorities),
      ...trustFile(manager, 'client-ca-file', authorities),
      ...trustFile(manager, 'root-ca-file', authorities),
    ],
    kubeconfigs: await kubeconfigTrust(directories, authorities),
    keys: await keyMatches(manager, directories),
    trust: await readControlPlaneTrust(components, directories),
  };
}

const elsewhere: LocalControlPlane = {
  isControlPlane: false,
  leaves: [],
  signingFiles: [],
  trustFiles: [],
  kubeconfigs: [],
  keys: [],
};

/** The certificate of kube-apiserver --kubelet-client-certificate. */
function kubeletClientOf(
  apiServer: Component | undefined,
  authorities: RolloverAuthorities,
): KubeletClient | undefined {
  const path = fileIn(apiServer, 'kubelet-client-certificate');
  const reading = path === undefined ? undefined : readCertificateFile(path);
  const [leaf] = reading?.kind === 'read' ? reading.certificates : [];
  if (reading?.kind !== 'read' || leaf === undefined) return undefined;
  const issuer = issuerOf(new X509Certificate(leaf.der), authorities);
  return { place: 'apiserver-kubelet-client.crt', changedAt: reading.changedAt, issuer };
}

function localLeaf(
  { path, certificate }: ComponentLeaf,
  authorities: RolloverAuthorities,
): LocalLeaf {
  if (certificate === undefined) return { place: path, issuer: 'unreadable' };
  const fingerprint = hash('sha256', certificate.raw, 'hex');
  return { place: path, issuer: issuerOf(certificate, authorities), fingerprint };
}

/** kube-controller-manager signs with exactly one certificate. */
function signingFile(
  manager: Component | undefined,
  authorities: RolloverAuthorities,
): ProbedIssuer[] {
  const path = fileIn(manager, 'cluster-signing-cert-file');
  if (path === undefined) return [];
  const place = `${path} (kube-controller-manager --cluster-signing-cert-file)`;
  const reading = readCertificateFile(path);
  const [only, another] = reading.kind === 'read' ? reading.certificates : [];
  if (only === undefined || another !== undefined) return [{ place, issuer: 'unreadable' }];
  return [{ place, issuer: sideWithKeyOf(only.der, authorities) ?? 'other' }];
}
