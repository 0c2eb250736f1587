import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { CertificateSpec } from '../../core/certificate-spec.ts';
import { currentLink } from '../../core/certificate-spec.ts';
import type { AgentConfig } from '../../core/config.ts';
import type { Instant } from '../../core/instant.ts';
import { encodeCertificates, scanPem } from '../../core/pem.ts';
import { loadKubeconfig } from '../../kube/kubeconfig.ts';
import { PairDirectory } from '../../store/pair-directory.ts';
import type { Clock } from '../../sys/clock.ts';
import { readSmallFile } from '../../sys/small-file.ts';
import type { TrustPlace } from './place.ts';

/** A certificate of this node that is not a CA. */
export interface Leaf {
  readonly path: string;
  /** The leaf first, then intermediate CAs. */
  readonly pem: Uint8Array<ArrayBuffer>;
}

/** The certificate of one entry of the configuration. */
export interface CurrentLeaf extends Leaf {
  readonly spec: CertificateSpec;
}

type Kept = Pick<AgentConfig, 'certificates' | 'certificateDirectory'>;

/** The certificates that the links point to, without missing and self-signed ones. */
export async function currentLeaves({
  certificates,
  certificateDirectory,
}: Kept): Promise<CurrentLeaf[]> {
  const found = certificates.map(async (spec) => {
    const path = join(certificateDirectory, currentLink(spec.name));
    const pem = await certificatesIn(path);
    return isIssued(pem) ? [{ path, pem, spec }] : [];
  });
  return (await Promise.all(found)).flat();
}

/**
 * The previous certificates that can be in use again, and the certificates in kubeconfigs. With
 * `served.onFailure: rollback`, the agent links a previous certificate if a server does not serve
 * the new certificate.
 */
export async function otherLeaves(
  { certificates, certificateDirectory: directory }: Kept,
  places: readonly TrustPlace[],
  clock: Clock,
): Promise<Leaf[]> {
  const previous = certificates
    .filter(({ served }) => served?.onFailure === 'rollback')
    .map(({ name }) => previousLeaves(new PairDirectory({ directory, name, clock }), clock.now()));
  const users = places
    .filter(
      ({ kind, isKept }) => kind === 'kubelet-kubeconfig' || (isKept && kind === 'kubeconfig'),
    )
    .map(({ path }) => clientLeaf(path));
  return (await Promise.all([...previous, ...users])).flat();
}

async function previousLeaves(pairs: PairDirectory, now: Instant): Promise<Leaf[]> {
  const files = await pairs.pairFiles();
  const found = files.map(async (file) => {
    const path = pairs.path(file);
    const pem = await certificatesIn(path);
    const leaf = leafOf(pem);
    const isUsable = leaf !== undefined && leaf.validToDate.getTime() > now;
    return isUsable ? [{ path, pem }] : [];
  });
  return (await Promise.all(found)).flat();
}

/** The client certificate of the current user of a kubeconfig. */
async function clientLeaf(path: string): Promise<Leaf[]> {
  try {
    using access = await loadKubeconfig(path);
    const { clientCertificate } = access.credential;
    return clientCertificate === undefined ? [] : [{ path, pem: clientCertificate.pem }];
  } catch {
    // The place has the reason as its problem.
    return [];
  }
}

/** Enough for a key and a chain. */
const largestFile = 1024 * 1024;

/** The certificates of a file without its key. Empty for a missing or corrupt file. */
async function certificatesIn(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bytes = await readSmallFile(path, largestFile);
    const { blocks } = scanPem(bytes);
    const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
    const pem = encodeCertificates(certificates);
    for (const { der } of blocks) der.fill(0);
    bytes.fill(0);
    return pem;
  } catch {
    return new Uint8Array();
  }
}

function leafOf(pem: Uint8Array): X509Certificate | undefined {
  try {
    const [first] = scanPem(pem).blocks;
    return first && new X509Certificate(first.der);
  } catch {
    return undefined;
  }
}

/** False for a temporary certificate, which its own key has signed. */
function isIssued(pem: Uint8Array): boolean {
  const leaf = leafOf(pem);
  return leaf !== undefined && !leaf.checkIssued(leaf);
}
