import type { Instant } from '../core/instant.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import type { ClientCertificate, ClusterAccess } from '../kube/cluster-access.ts';
import { openPair } from '../store/pair-file.ts';

/** The client certificate that this agent manages, as a credential. */
export interface StoredIdentity {
  readonly certificate: ClientCertificate;
  /** The leaf in DER. */
  readonly leaf: Uint8Array;
}

/**
 * The pair behind `-current.pem`, if it is valid now. As in the kubelet, this pair is the
 * node's identity even if the kubeconfig embeds or names an older certificate: otherwise the
 * node would use the older certificate until it expires (kubernetes/kubernetes#71825).
 */
export async function storedIdentity(
  path: string,
  now: Instant,
): Promise<StoredIdentity | undefined> {
  // The inspection reports an unreadable pair; the kubeconfig may still have a credential.
  const open = await openPair(path).catch(() => undefined);
  if (open === undefined) return undefined;
  const { facts, leaf } = open.pair;
  if (facts.selfSigned || now < facts.notBefore || facts.notAfter <= now) {
    open[Symbol.dispose]();
    return undefined;
  }
  const certificates = parsePem(open.content.expose()).filter(isCertificate);
  const pem = new Uint8Array(
    Buffer.concat(certificates.map(({ label, der }) => encodePem(label, der))),
  );
  return { certificate: { pem, key: open.content }, leaf };
}

/** False for a kubeconfig that embeds or names another certificate, or none. */
export function isNamedBy({ credential }: ClusterAccess, { leaf }: StoredIdentity): boolean {
  if (credential.clientCertificate === undefined) return false;
  const [first] = parsePem(credential.clientCertificate.pem).filter(isCertificate);
  return first !== undefined && Buffer.from(first.der).equals(leaf);
}

function isCertificate({ label }: { readonly label: string }): boolean {
  return label === 'CERTIFICATE';
}
