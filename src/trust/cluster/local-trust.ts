import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { hasCode } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { scanPem } from '../../core/pem.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import type { Component } from '../../pki/components/component.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { authorityFile, keyFileOf, kubeadmCertificates } from '../../pki/layout.ts';
import { readKeyFile } from '../../pki/renewal/key-file.ts';
import { isSameKey } from '../../sys/public-key.ts';
import type { RolloverAuthorities, RolloverSide } from './gate.ts';

/** A file with CAs that a component reads. */
export interface TrustFile {
  /** As in `kube-apiserver --client-ca-file`, or `kubeconfig`. */
  readonly flag: string;
  readonly path: string;
  readonly changedAt?: Instant;
  /** Which of the two CAs the file has. */
  readonly has: readonly RolloverSide[];
  readonly problem?: string;
}

/** The file that a flag of a component names, with its CAs. */
export function trustFile(
  component: Component | undefined,
  flag: string,
  authorities: RolloverAuthorities,
): TrustFile[] {
  const path = fileIn(component, flag);
  if (component === undefined || path === undefined) return [];
  const file = { flag: `${component.name} --${flag}`, path };
  const reading = readCertificateFile(path);
  if (reading.kind !== 'read') return [{ ...file, has: [], problem: reading.reason }];
  const { certificates, problems, changedAt } = reading;
  const has = sidesIn(certificates, authorities);
  const [problem] = problems;
  return [{ ...file, changedAt, has, ...(problem !== undefined && { problem }) }];
}

/** The CAs in the kubeconfigs of kubeadm. Only the first control-plane node has super-admin.conf. */
export async function kubeconfigTrust(
  { kubernetes }: KubernetesDirectories,
  authorities: RolloverAuthorities,
): Promise<TrustFile[]> {
  const names = kubeadmCertificates.filter(({ kind }) => kind === 'kubeconfig');
  const found = await Promise.all(
    names.map(async ({ file }): Promise<TrustFile[]> => {
      const path = join(kubernetes, file);
      try {
        using access = await loadKubeconfig(path);
        const pem = access.cluster.certificateAuthority?.pem ?? new Uint8Array();
        return [{ flag: 'kubeconfig', path, has: sidesIn(scanPem(pem).blocks, authorities) }];
      } catch (error) {
        if (hasCode(error, 'KUBECONFIG_MISSING')) return [];
        return [{ flag: 'kubeconfig', path, has: [], problem: 'cannot be read' }];
      }
    }),
  );
  return found.flat();
}

/** A certificate of a CA, and the key that has to match it. */
export interface KeyMatch {
  readonly certificate: string;
  readonly key: string;
  readonly matches: boolean;
}

/** The signing pair of kube-controller-manager, and the pair with which kubeadm signs. */
export async function keyMatches(
  manager: Component | undefined,
  directories: KubernetesDirectories,
): Promise<KeyMatch[]> {
  const own = authorityFile('ca', directories);
  const pairs = [
    [fileIn(manager, 'cluster-signing-cert-file'), fileIn(manager, 'cluster-signing-key-file')],
    [own, keyFileOf(own)],
  ] as const;
  const found = await Promise.all(
    pairs.map(async ([certificate, key]) =>
      certificate === undefined || key === undefined ? [] : matchOf(certificate, key),
    ),
  );
  const unique = new Map(found.flat().map((match) => [match.key, match]));
  return [...unique.values()];
}

/** kubeadm uses the first certificate of a file. Nothing to compare without the key. */
async function matchOf(certificate: string, key: string): Promise<KeyMatch[]> {
  const reading = readCertificateFile(certificate);
  const [first] = reading.kind === 'read' ? reading.certificates : [];
  try {
    const found = await readKeyFile(key);
    if (found === undefined) return [];
    const matches = first !== undefined && new X509Certificate(first.der).checkPrivateKey(found);
    return [{ certificate, key, matches }];
  } catch (error) {
    // Only root may read keys.
    return hasCode(error, 'STORE_PERMISSIONS') ? [] : [{ certificate, key, matches: false }];
  }
}

const sides = ['old', 'next'] as const;

function sidesIn(
  certificates: readonly { readonly der: Uint8Array }[],
  authorities: RolloverAuthorities,
): RolloverSide[] {
  const found = certificates.map(({ der }) => sideWithKeyOf(der, authorities));
  return sides.filter((side) => found.includes(side));
}

/** A CA that was renewed with its key has another certificate and the same key. */
export function sideWithKeyOf(
  der: Uint8Array,
  authorities: RolloverAuthorities,
): RolloverSide | undefined {
  const { publicKey } = new X509Certificate(der);
  return sides.find((side) => {
    const authority = authorities[side];
    return (
      authority !== undefined && isSameKey(new X509Certificate(authority.der).publicKey, publicKey)
    );
  });
}
