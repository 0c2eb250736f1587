import type { KeyObject } from 'node:crypto';
import { AgentError, hasCode } from '../../core/errors.ts';
import type { LocalKubelet } from '../../kubelet/local-kubelet.ts';
import type { Component, FileNote } from '../../pki/components/component.ts';
import { findLocalNode } from '../../pki/inventory/local-inventory.ts';
import type { AuthorityName, KubernetesDirectories } from '../../pki/layout.ts';
import { authorityFile, keyFileOf } from '../../pki/layout.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { haveSameKey, readCertificatesOf, subjectOf } from '../../pki/renewal/certificate-chain.ts';
import { readKeyFile } from '../../pki/renewal/key-file.ts';
import { readContent } from '../../store/file-content.ts';
import type { Tree } from '../../sys/tree.ts';
import { isBridge } from './new-authority.ts';
import type { CaName } from './task.ts';

/**
 * The CA files of a rollover, by what follows the name of kubeadm's file, as in `ca-next.crt` and
 * `etcd/ca-next.crt`. `ca.crt` has both CAs during the rollover, so kube-controller-manager signs with
 * the pair `ca-signing`, and publishes `ca-bundle.crt`. Only the CA of Kubernetes has a bridge. After
 * `finish --keep-absent-nodes`, kube-apiserver verifies clients with `ca-clients.crt`.
 */
const suffixes = {
  trusted: '',
  signing: '-signing',
  bundle: '-bundle',
  next: '-next',
  bridge: '-bridge',
  previous: '-previous',
  clients: '-clients',
} as const;
export type CaFile = keyof typeof suffixes;

const usedFiles: Readonly<Record<CaName, readonly CaFile[]>> = {
  kubernetes: ['trusted', 'signing', 'bundle', 'next', 'bridge', 'previous', 'clients'],
  etcd: ['trusted', 'next', 'previous'],
  'front-proxy': ['trusted', 'next', 'previous'],
};

/** The names of `kubeadm certs check-expiration`. */
export const authorityNameOf: Readonly<Record<CaName, AuthorityName>> = {
  kubernetes: 'ca',
  etcd: 'etcd-ca',
  'front-proxy': 'front-proxy-ca',
};

/** One of the two CAs. */
export interface RolloverCa {
  readonly certificate: ChainCertificate;
  /** Absent if no file of this node has the key. */
  readonly key?: { readonly path: string; readonly object: KeyObject };
}

/** A control-plane node during a rollover, from its files, flags and processes alone. */
export interface RolloverNode {
  /** The CA that is replaced. */
  readonly ca: CaName;
  readonly tree: Tree;
  readonly directories: KubernetesDirectories;
  readonly components: readonly Component[];
  readonly systemctl?: string;
  readonly kubelet?: LocalKubelet;
  readonly old: RolloverCa;
  readonly next: RolloverCa;
  /** The certificates of each file that exists; none for a file that cannot be parsed. */
  readonly found: FoundFiles;
}

type FoundFiles = Readonly<Partial<Record<CaFile, readonly ChainCertificate[]>>>;

export interface NodePlaces {
  readonly ca: CaName;
  readonly tree: Tree;
  readonly directories: KubernetesDirectories;
  /** By default that of this machine. */
  readonly systemctl?: string;
}

/**
 * Reads this node. Undefined if it has no file of a rollover.
 * @throws AgentError CERT_UNTRUSTED if the files do not show which CA is the old one; PAIR_MALFORMED; STORE_IO
 * if a manifest cannot be read, because a step would take its component for missing
 */
export async function readRolloverNode(places: NodePlaces): Promise<RolloverNode | undefined> {
  const { ca, tree, directories, systemctl } = places;
  const found = await readFiles(places);
  if (found.next?.length === 0) throw unreadableNext(places);
  const nextCertificate = nextIn(found);
  if (nextCertificate === undefined) return undefined;
  const oldCertificate = oldIn(found, nextCertificate);
  if (oldCertificate === undefined) throw withoutOld(places);
  refuseOthers(found, { places, known: [oldCertificate, nextCertificate] });
  const keys = await readKeys(places);
  const { components, kubelet, problems } = await findLocalNode(directories);
  const hidden = problems.find(({ hidesComponent }) => hidesComponent);
  if (hidden !== undefined) throw unreadableManifest(hidden);
  return {
    ca,
    tree,
    directories,
    components,
    ...(systemctl !== undefined && { systemctl }),
    ...(kubelet && { kubelet }),
    old: withKey(oldCertificate, keys),
    next: withKey(nextCertificate, keys),
    found,
  };
}

function unreadableManifest({ path, reason }: FileNote): AgentError {
  return new AgentError('STORE_IO', `the manifest ${path} ${reason}`, {
    remedy: `Find out why, and then run the same command again: cat ${path}`,
  });
}

async function readFiles(places: NodePlaces): Promise<FoundFiles> {
  const read = await Promise.all(
    usedFiles[places.ca].map(async (file) => {
      const { path, physical } = await places.tree.locate(caPath(places, file));
      const content = await readContent(physical);
      if (content === undefined) return [];
      // A file that cannot be parsed gets new content.
      const certificates = await readCertificatesOf(path, content.bytes).catch(() => []);
      return [[file, certificates] as const];
    }),
  );
  return Object.fromEntries(read.flat());
}

function nextIn(found: FoundFiles): ChainCertificate | undefined {
  if (found.next !== undefined) return found.next[0];
  if (found.previous !== undefined) return notLike(found.previous, found);
  return found.clients && found.trusted?.[0];
}

/** The first CA in `ca.crt` that is not the previous one: `finish` removes the file of the new CA first. */
function notLike(
  previous: readonly ChainCertificate[],
  { trusted = [] }: FoundFiles,
): ChainCertificate | undefined {
  return trusted.find((one) => previous.every((other) => !haveSameKey(one, other)));
}

function oldIn(
  { previous = [], signing = [], trusted = [], bundle = [], clients = [] }: FoundFiles,
  next: ChainCertificate,
): ChainCertificate | undefined {
  const candidates = [...previous, ...signing, ...trusted, ...bundle, ...clients];
  return candidates.find((candidate) => !haveSameKey(candidate, next));
}

function unreadableNext(places: NodePlaces): AgentError {
  const path = caPath(places, 'next');
  return new AgentError('PAIR_MALFORMED', `${path} contains no certificate in PEM`, {
    remedy: `Copy ${path} from the control-plane node that created the new CA`,
  });
}

function withoutOld(places: NodePlaces): AgentError {
  const paths = usedFiles[places.ca]
    .filter((file) => file !== 'next' && file !== 'bridge')
    .map((file) => caPath(places, file));
  return new AgentError(
    'CERT_UNTRUSTED',
    `the old CA is in no file of this node: ${paths.join(', ')} have at most the new CA`,
    { remedy: `Restore the old CA as ${caPath(places, 'previous')} from a backup` },
  );
}

/** With a third CA, nodecertd could not tell which CA clients need. */
function refuseOthers(
  { trusted = [] }: FoundFiles,
  {
    places,
    known,
  }: {
    readonly places: NodePlaces;
    readonly known: readonly ChainCertificate[];
  },
): void {
  const other = trusted.find((one) => known.every((ca) => !haveSameKey(one, ca)));
  if (other === undefined) return;
  const path = caPath(places, 'trusted');
  const elsewhere =
    places.ca === 'kubernetes' ? ', or move it to another file of --client-ca-file' : '';
  throw new AgentError(
    'CERT_UNTRUSTED',
    `${path} has the CA ${subjectOf(other)}, which is neither the old nor the new CA`,
    { remedy: `Remove that CA from ${path}${elsewhere}` },
  );
}

interface FoundKey {
  readonly path: string;
  readonly object: KeyObject;
}

/** The file of a CA comes before the files that only have its key for a time. */
async function readKeys(places: NodePlaces): Promise<FoundKey[]> {
  const files = ['next', 'previous', 'signing', 'trusted'] as const;
  const order = files.filter((file) => usedFiles[places.ca].includes(file));
  const read = await Promise.all(
    order.map(async (file): Promise<FoundKey[]> => {
      const path = keyFileOf(caPath(places, file));
      const object = await keyAt(places.tree, path);
      return object === undefined ? [] : [{ path, object }];
    }),
  );
  return read.flat();
}

function withKey(certificate: ChainCertificate, keys: readonly FoundKey[]): RolloverCa {
  const key = keys.find(({ object }) => certificate.openssl.checkPrivateKey(object));
  return { certificate, ...(key && { key }) };
}

/**
 * The certificates of a file. Undefined if it does not exist.
 * @throws AgentError PAIR_MALFORMED, CERT_MALFORMED, STORE_*
 */
export async function certificatesAt(
  tree: Tree,
  path: string,
): Promise<ChainCertificate[] | undefined> {
  const content = await readContent((await tree.locate(path)).physical);
  return content && readCertificatesOf(path, content.bytes);
}

/**
 * Undefined if the file does not exist or has no usable key; a step then writes it again. A file that
 * cannot be read may have the only copy of a key.
 * @throws AgentError STORE_*
 */
export async function keyAt(tree: Tree, path: string): Promise<KeyObject | undefined> {
  const { physical } = await tree.locate(path);
  try {
    return await readKeyFile(physical);
  } catch (error) {
    if (hasCode(error, 'PAIR_MALFORMED', 'KEY_UNSUPPORTED')) return undefined;
    throw error;
  }
}

export type CaPlaces = Pick<NodePlaces, 'ca' | 'directories'>;

/** The path of a CA file on the node. */
export function caPath({ ca, directories }: CaPlaces, file: CaFile): string {
  const own = authorityFile(authorityNameOf[ca], directories);
  return own.replace(/\.crt$/, `${suffixes[file]}.crt`);
}

/** The bridge: the key of the new CA in a certificate that the old CA issued. */
export function bridgeOf({ found, old, next }: RolloverNode): ChainCertificate | undefined {
  return found.bridge?.find((one) =>
    isBridge(one, { old: old.certificate, next: next.certificate }),
  );
}
