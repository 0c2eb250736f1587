import { encodeCertificates } from '../../core/pem.ts';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { without } from '../../core/without.ts';
import type { KubeadmCertificate } from '../../pki/layout.ts';
import { creationCommand, fileOf, kubeadmCertificates } from '../../pki/layout.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { isIssuedBy, isSameList } from '../../pki/renewal/certificate-chain.ts';
import type { ExistingCertificate, Target } from '../../pki/renewal/existing-certificate.ts';
import { readExisting } from '../../pki/renewal/existing-certificate.ts';
import { validityOf } from '../../pki/renewal/lifetime.ts';
import { changeOf, plannedFile } from '../../pki/renewal/planned-file.ts';
import { createRenewal } from '../../pki/renewal/renew-item.ts';
import { newKeyKind } from '../../pki/renewal/renewal-item.ts';
import type { NewChange } from '../../store/run-folder.ts';
import type { RolloverSide } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import { requireKey } from './ca-files.ts';
import { importedPair } from './imported-pair.ts';
import type { RolloverNode } from './node-files.ts';
import { caPath, keyAt } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import type { CaName } from './task.ts';

/** The certificates of kubeadm that have files of their own, by the CA that issues them. */
export const pairNames = {
  kubernetes: ['apiserver', 'apiserver-kubelet-client'],
  etcd: ['etcd-peer', 'etcd-server', 'etcd-healthcheck-client', 'apiserver-etcd-client'],
  'front-proxy': ['front-proxy-client'],
} as const satisfies Record<CaName, readonly string[]>;
export type PairName = (typeof pairNames)[CaName][number];

/** A certificate of kubeadm as it is on disk, without its key. */
export interface Leaf {
  readonly certificate: ChainCertificate;
  /** The other certificates of its file. */
  readonly chain: readonly ChainCertificate[];
  readonly path: string;
  /** The file of the key, if it is another one. */
  readonly keyPath?: string;
  /** The CA that has issued it, if the key beside it is its own. Absent for another CA. */
  readonly by?: RolloverSide;
  /** The kubeconfig contains the certificate, and does not name its file. */
  readonly isEmbedded: boolean;
}

const sides = ['old', 'next'] as const satisfies readonly RolloverSide[];

/** Undefined if the file does not exist. */
export async function readLeaf(node: RolloverNode, name: string): Promise<Leaf | undefined> {
  const existing = await readExisting(entryOf(name), node);
  if (existing === undefined) return undefined;
  const { target, leaf, others, path } = existing;
  wipe(target);
  const by = sides.find((side) => isIssuedBy(leaf, node[side].certificate));
  const isWhole = by !== undefined && (await hasOwnKey(node, existing));
  const keyPath = target.kind === 'pair' && target.key.path !== path ? target.key.path : undefined;
  return {
    certificate: leaf,
    chain: others,
    path,
    ...(keyPath && { keyPath }),
    ...(isWhole && { by }),
    isEmbedded: target.kind === 'kubeconfig',
  };
}

export function entryOf(name: string): KubeadmCertificate {
  const entry = kubeadmCertificates.find((known) => known.name === name);
  if (entry === undefined) throw new AgentError('INTERNAL', `kubeadm has no certificate ${name}`);
  return entry;
}

/** The key is in the same file as the certificate of a kubeconfig, so a crash cannot separate them. */
async function hasOwnKey(
  { tree }: RolloverNode,
  { target, leaf }: ExistingCertificate,
): Promise<boolean> {
  if (target.kind === 'kubeconfig') return true;
  const key = await keyAt(tree, target.key.path);
  return key !== undefined && leaf.openssl.checkPrivateKey(key);
}

function wipe(target: Target): void {
  if (target.kind === 'kubeconfig') return void target.kubeconfig.before.bytes.fill(0);
  target.certificate.before?.bytes.fill(0);
  target.key.before?.bytes.fill(0);
}

/**
 * A certificate from one of the CAs and its key. A certificate that this CA has issued already keeps its
 * key, and only gets the chain.
 * @param chain the certificates after it
 * @param importFrom the folder with the certificate, if the key of the new CA is not on this node
 * @throws AgentError PAIR_MALFORMED if there is no certificate, and as importedPair
 */
export async function pairReplacement(
  node: RolloverNode,
  name: PairName,
  wish: {
    readonly by: RolloverSide;
    readonly chain: readonly ChainCertificate[];
    readonly now: Instant;
    readonly importFrom?: string;
  },
): Promise<Replacement> {
  const { by, chain, now, importFrom: folder } = wish;
  const leaf = await readLeaf(node, name);
  if (leaf === undefined) throw missing(name);
  if (leaf.by === by) return chainReplacement(node, leaf, chain);
  const existing = { entry: entryOf(name), leaf: leaf.certificate };
  const imported = folder && (await importedPair(node, existing, { folder, now }));
  const content = imported
    ? `the certificate ${imported.file} from ${sideNames[by]}`
    : `a certificate from ${sideNames[by]}${chain.length === 0 ? '' : ', then the bridge'}`;
  return { files: filesOf(leaf, content), make: async () => renewed(node, name, wish) };
}

/** The files of a new certificate and its key. */
export function filesOf({ path, keyPath }: Leaf, content: string): Replacement['files'] {
  return [{ path, content }, ...(keyPath ? [{ path: keyPath, content: 'a new key' }] : [])];
}

/** The certificates after the leaf; the leaf and its key stay. */
export function chainReplacement(
  { tree }: RolloverNode,
  { certificate, chain: found, path }: Leaf,
  chain: readonly ChainCertificate[],
): Replacement {
  const content = chain.length === 0 ? 'the certificate alone' : 'the certificate, then the bridge';
  return {
    files: isSameList(found, chain) ? [] : [{ path, content }],
    make: async () => {
      const bytes = encodeCertificates([certificate, ...chain]);
      return [changeOf(await plannedFile(tree, path), bytes, '0644')];
    },
  };
}

/** The certificate file of a pair. */
export function pairPath(
  { directories }: Pick<RolloverNode, 'directories'>,
  name: PairName,
): string {
  return fileOf(entryOf(name), directories);
}

function missing(name: PairName): AgentError {
  return new AgentError('PAIR_MALFORMED', `the certificate ${name} does not exist`, {
    remedy: `Create it: ${creationCommand(name)}`,
  });
}

/**
 * A new key and a certificate from one of the CAs, like the previous certificate.
 * @param authority the CAs that a kubeconfig embeds; absent to keep them
 */
export async function renewed(
  node: RolloverNode,
  name: string,
  {
    by,
    chain = [],
    authority,
    now,
    importFrom,
  }: {
    readonly by: RolloverSide;
    readonly chain?: readonly ChainCertificate[];
    readonly authority?: Uint8Array;
    readonly now: Instant;
    readonly importFrom?: string;
  },
): Promise<NewChange[]> {
  const existing = await readExisting(entryOf(name), node);
  if (existing === undefined) {
    throw new AgentError('FILE_CHANGED', `the certificate ${name} no longer exists`, {
      remedy: 'Run this command again',
    });
  }
  const { entry, target, leaf, others, previousForm, storedAt } = existing;
  const { certificate } = node[by];
  const issued = importFrom && (await importedPair(node, existing, { folder: importFrom, now }));
  const { changes } = await createRenewal({
    entry,
    target: target.kind === 'kubeconfig' && authority ? { ...target, authority } : target,
    leaf,
    chain: [...(issued ? issued.chain : []), ...chain],
    omitted: others.filter((other) => !chain.includes(other)),
    ...(issued && { issued }),
    signer: issued
      ? { kind: 'external', certificate }
      : { kind: 'local', certificate, key: requireKey(node, by).object },
    authorityPath: caPath(node, by === 'next' ? 'next' : 'previous'),
    key: newKeyKind(existing),
    ...(previousForm && { previousForm }),
    validity: validityOf({
      lifetime: { kind: 'previous' },
      previous: {
        ...leaf.facts,
        storedAt,
        authority: node[by === 'next' ? 'old' : 'next'].certificate.facts,
      },
      authority: certificate.facts,
      now,
    }),
    storedAt,
  });
  return changes.map((change) => without(change, 'item'));
}
