import type { X509Certificate } from 'node:crypto';
import { hash } from 'node:crypto';
import type { ControlPlaneTrust, IssuedLeaf } from '../../core/control-plane-annotation.ts';
import type { Instant } from '../../core/instant.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { isSignedBy } from '../../kube/authorities.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import type { Component } from '../../pki/components/component.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import type { AuthorityName, KubernetesDirectories } from '../../pki/layout.ts';
import { authorityFile, fileOf, kubeadmCertificates } from '../../pki/layout.ts';
import { certificateIn, componentLeaves } from './component-leaves.ts';

/** The files of this control-plane node as its annotation reports them. Reads no file of a key alone. */
export async function readControlPlaneTrust(
  components: readonly Component[],
  directories: KubernetesDirectories,
): Promise<ControlPlaneTrust> {
  const apiServer = components.find(({ name }) => name === 'kube-apiserver');
  const manager = components.find(({ name }) => name === 'kube-controller-manager');
  const current = caFile(authorityFile('ca', directories));
  const next = nextOf('ca', directories);
  const signing = caFile(fileIn(manager, 'cluster-signing-cert-file'));
  const authorities = current?.authorities ?? [];
  const known = [...authorities, ...(next ? [next] : []), ...(signing?.authorities ?? [])];
  const leaves = await componentLeaves(directories);
  const issued = leaves.map(
    ({ name, certificate }) => [name, issuedLeaf(certificate, known)] as const,
  );
  const etcd = countIn(authorityFile('etcd-ca', directories));
  const frontProxy = countIn(authorityFile('front-proxy-ca', directories));
  const etcdNext = nextOf('etcd-ca', directories);
  const frontProxyNext = nextOf('front-proxy-ca', directories);
  const frontProxyClient = frontProxyIssuer(directories);
  return {
    authorities: authorities.map(digitsOf),
    ...(next && { next: digitsOf(next) }),
    ...(signing && { signer: onlyOne(signing) }),
    leaves: Object.fromEntries(issued),
    ...kubeletSide(apiServer),
    ...(etcd !== undefined && { etcdAuthorities: etcd }),
    ...(frontProxy !== undefined && { frontProxyAuthorities: frontProxy }),
    ...(etcdNext && { etcdNext: digitsOf(etcdNext) }),
    ...(frontProxyNext && { frontProxyNext: digitsOf(frontProxyNext) }),
    ...(frontProxyClient && { frontProxyClient: digitsOf(frontProxyClient) }),
  };
}

/** The CA that issued the certificate of kube-apiserver for extension API servers. */
function frontProxyIssuer(directories: KubernetesDirectories): X509Certificate | undefined {
  const client = kubeadmCertificates.find(({ name }) => name === 'front-proxy-client');
  const [leaf] = (client && caFile(fileOf(client, directories))?.authorities) ?? [];
  const next = nextOf('front-proxy-ca', directories);
  const current = caFile(authorityFile('front-proxy-ca', directories))?.authorities ?? [];
  return leaf && [...current, ...(next ? [next] : [])].find((one) => isSignedBy(leaf, one));
}

/** The new CA that the step `create` of `ca-rollover apply` has put beside the CA. */
function nextOf(
  name: AuthorityName,
  directories: KubernetesDirectories,
): X509Certificate | undefined {
  return caFile(authorityFile(name, directories).replace(/\.crt$/, '-next.crt'))?.authorities[0];
}

interface CaFile {
  readonly authorities: readonly X509Certificate[];
  /** Absent if the file is missing or unreadable. */
  readonly changedAt?: Instant;
}

/** Undefined without a path. */
function caFile(path: string | undefined): CaFile | undefined {
  if (path === undefined) return undefined;
  const reading = readCertificateFile(path);
  if (reading.kind !== 'read') return { authorities: [] };
  const { certificates, changedAt } = reading;
  const parsed = certificates.map(({ der }) => certificateIn(der));
  return { authorities: parsed.filter((one) => one !== undefined), changedAt };
}

/** kube-controller-manager signs with exactly one certificate; empty for another number. */
function onlyOne({ authorities: [only, another] }: CaFile): string {
  return only === undefined || another !== undefined ? '' : digitsOf(only);
}

function digitsOf({ raw }: X509Certificate): string {
  return shortFingerprint(hash('sha256', raw, 'hex'));
}

function issuedLeaf(
  certificate: X509Certificate | undefined,
  authorities: readonly X509Certificate[],
): IssuedLeaf {
  if (certificate === undefined) return { issuer: '', fingerprint: '' };
  const issuer = authorities.find((one) => isSignedBy(certificate, one));
  return {
    issuer: issuer === undefined ? '' : digitsOf(issuer),
    fingerprint: digitsOf(certificate),
  };
}

/** What kube-apiserver uses for its connections to kubelets. */
function kubeletSide(
  apiServer: Component | undefined,
): Pick<ControlPlaneTrust, 'kubeletClientChangedAt' | 'kubeletAuthority'> {
  const client = caFile(fileIn(apiServer, 'kubelet-client-certificate'))?.changedAt;
  const trusted = caFile(fileIn(apiServer, 'kubelet-certificate-authority'));
  return {
    ...(client !== undefined && { kubeletClientChangedAt: client }),
    ...(trusted && {
      kubeletAuthority: { ...trusted, authorities: trusted.authorities.map(digitsOf) },
    }),
  };
}

/** Undefined without the file, as in a cluster with external etcd. */
function countIn(path: string): number | undefined {
  const file = caFile(path);
  return file?.changedAt === undefined ? undefined : file.authorities.length;
}
