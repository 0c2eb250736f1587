import { encodeCertificates } from '../../core/pem.ts';
import type { Instant } from '../../core/instant.ts';
import { AgentError } from '../../core/errors.ts';
import { kubeconfigAuthority, withAuthority } from '../../kube/kubeconfig-authority.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import { fileOf } from '../../pki/layout.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { readCertificatesOf } from '../../pki/renewal/certificate-chain.ts';
import { textOf } from '../../pki/renewal/existing-certificate.ts';
import { changeOf, plannedFile } from '../../pki/renewal/planned-file.ts';
import type { NewChange } from '../../store/run-folder.ts';
import type { RolloverSide } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import { inWords } from './ca-files.ts';
import { entryOf, filesOf, readLeaf, renewed } from './leaf.ts';
import type { RolloverNode } from './node-files.ts';
import { caPath } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import { noReplacement } from './replacement.ts';
import { withTrust } from './trust-files.ts';

/** The kubeconfigs of kubeadm that a step writes. The agent keeps kubelet.conf. */
export const kubeconfigNames = [
  'controller-manager.conf',
  'scheduler.conf',
  'super-admin.conf',
  'admin.conf',
] as const;
export type KubeconfigName = (typeof kubeconfigNames)[number];

export interface KubeconfigWish {
  /** The CAs of its cluster. */
  readonly trusted: readonly RolloverSide[];
  /** The CA that has to have issued its client certificate. Absent if both may. */
  readonly by?: RolloverSide;
  readonly now: Instant;
}

/**
 * The CAs and the client certificate of a kubeconfig: `kubeadm certs renew` leaves only one CA in it.
 * Nothing to do if there is no such kubeconfig: only the first control-plane node has super-admin.conf.
 */
export async function kubeconfigReplacement(
  node: RolloverNode,
  name: KubeconfigName,
  { trusted, by, now }: KubeconfigWish,
): Promise<Replacement> {
  const path = fileOf(entryOf(name), node.directories);
  const leaf = await readLeaf(node, name);
  if (leaf === undefined) return noReplacement;
  const authorities = await authoritiesIn(node, path);
  const trust = authorities && withTrust(authorities, node, trusted);
  const authority = trust?.isDone === false ? encodeCertificates(trust.certificates) : undefined;
  const trustText = `trust in ${trusted.length > 1 ? 'both CAs' : inWords(trusted)}`;
  const trustPart: Replacement =
    authority === undefined
      ? noReplacement
      : {
          files: [{ path, content: trustText }],
          make: async () => [await trustChange(node, path, authority)],
        };
  if (by === undefined || leaf.by === by) return trustPart;
  const newCertificate = `a certificate from ${sideNames[by]}`;
  if (!leaf.isEmbedded) {
    const make = async (): Promise<NewChange[]> => renewed(node, name, { by, now });
    return both({ files: filesOf(leaf, newCertificate), make }, trustPart);
  }
  const content = [newCertificate, ...(authority === undefined ? [] : [trustText])].join(', ');
  return {
    files: [{ path, content }],
    make: async () => renewed(node, name, { by, now, ...(authority && { authority }) }),
  };
}

function both(first: Replacement, second: Replacement): Replacement {
  return {
    files: [...first.files, ...second.files],
    make: async () => [...(await first.make()), ...(await second.make())],
  };
}

/** Undefined if the kubeconfig names `ca.crt` instead, or trusts the CAs of the machine. */
async function authoritiesIn(
  node: RolloverNode,
  path: string,
): Promise<ChainCertificate[] | undefined> {
  const { document } = await readDocument(node, path);
  const source = kubeconfigAuthority(document);
  if (source?.kind === 'data') return readCertificatesOf(path, source.bytes);
  if (source === undefined) return undefined;
  const [named, own] = await Promise.all([
    node.tree.locate(source.path),
    node.tree.locate(caPath(node, 'trusted')),
  ]);
  if (named.path === own.path) return undefined;
  throw new AgentError('KUBECONFIG_UNSUPPORTED', `${path} names the CA file ${source.shown}`, {
    remedy: `Embed its CAs in ${path} (certificate-authority-data)`,
  });
}

async function trustChange(node: RolloverNode, path: string, pem: Uint8Array): Promise<NewChange> {
  const { planned, document, text } = await readDocument(node, path);
  const edited = withAuthority(document, text, { pem });
  return changeOf(planned, new Uint8Array(Buffer.from(edited)), '0600');
}

async function readDocument(
  { tree }: RolloverNode,
  file: string,
): Promise<{
  readonly planned: Awaited<ReturnType<typeof plannedFile>>;
  readonly document: KubeconfigDocument;
  readonly text: string;
}> {
  const planned = await plannedFile(tree, file);
  const { path, before } = planned;
  if (before === undefined) {
    throw new AgentError('FILE_CHANGED', `${path} no longer exists`, {
      remedy: 'Run this command again',
    });
  }
  const text = textOf(path, before);
  return { planned, document: new KubeconfigDocument(path, text), text };
}
