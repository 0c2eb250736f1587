import { stat } from 'node:fs/promises';
import { showMode } from '../../core/file-mode.ts';
import { encodeCertificates } from '../../core/pem.ts';
import { AgentError } from '../../core/errors.ts';
import { keyFileOf } from '../../pki/layout.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { isSameList } from '../../pki/renewal/certificate-chain.ts';
import { readContent } from '../../store/file-content.ts';
import { unlessMissing } from '../../sys/file-error.ts';
import type { Tree } from '../../sys/tree.ts';
import type { GateReason, RolloverSide } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import type { CaFile, CaPlaces, RolloverCa, RolloverNode } from './node-files.ts';
import { caPath, keyAt } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import { replacement } from './replacement.ts';

/** The CAs of a file during a rollover, in its order. kubeadm signs with the first one. */
export const bothCas = ['old', 'next'] as const satisfies readonly RolloverSide[];
/** By the CA that issues. */
export const issuerFirst = {
  old: bothCas,
  next: ['next', 'old'],
} as const satisfies Readonly<Record<RolloverSide, readonly RolloverSide[]>>;

/** `the new CA, then the old CA` */
export function inWords(sides: readonly RolloverSide[]): string {
  return sides.map((side) => sideNames[side]).join(', then ');
}

export function certificatesOf(
  node: Pick<RolloverNode, RolloverSide>,
  sides: readonly RolloverSide[],
): ChainCertificate[] {
  return sides.map((side) => node[side].certificate);
}

/** A file with exactly these CAs in this order. */
export function caReplacement(
  node: RolloverNode,
  file: CaFile,
  sides: readonly RolloverSide[],
): Replacement {
  const wanted = certificatesOf(node, sides);
  return replacement({
    tree: node.tree,
    path: caPath(node, file),
    content: inWords(sides),
    mode: '0644',
    isDone: isSameList(node.found[file], wanted),
    bytes: async () => encodeCertificates(wanted),
  });
}

/** The key beside such a file: that of the first CA in it. */
export async function keyReplacement(
  node: RolloverNode,
  file: CaFile,
  side: RolloverSide,
): Promise<Replacement> {
  const { tree } = node;
  const path = keyFileOf(caPath(node, file));
  const source = requireKey(node, side);
  return replacement({
    tree,
    path,
    content: `the key of ${sideNames[side]}`,
    mode: '0600',
    isDone: await hasKey(node, path, side),
    bytes: async () => copyOf((await tree.locate(source.path)).physical),
  });
}

/** True if the file has the key of this CA. */
export async function hasKey(
  { tree, ...node }: RolloverNode,
  path: string,
  side: RolloverSide,
): Promise<boolean> {
  const key = await keyAt(tree, path);
  return key !== undefined && node[side].certificate.openssl.checkPrivateKey(key);
}

/**
 * Keys of the CAs that other users can read, for example because a program copied them without their
 * mode. A step keeps the mode of a file, and copies the file with its mode.
 */
export async function looseKeys(
  places: Pick<RolloverNode, 'ca' | 'tree' | 'directories'>,
): Promise<GateReason[]> {
  const files = ['trusted', 'signing', 'next', 'previous'] as const;
  const paths = files.map((file) => keyFileOf(caPath(places, file)));
  const found = await Promise.all(paths.map(async (path) => modeOf(places.tree, path)));
  const loose = paths.filter((_, at) => ((found[at] ?? 0) & 0o077) !== 0);
  if (loose.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: 'other users can read the key of a CA',
      remedy: `Run: chmod 600 ${loose.join(' ')}`,
      objects: loose.map((path) => `${path} (mode ${showMode(found[paths.indexOf(path)] ?? 0)})`),
    },
  ];
}

async function modeOf(tree: Tree, path: string): Promise<number | undefined> {
  const { physical } = await tree.locate(path);
  return (await unlessMissing(() => stat(physical)))?.mode;
}

async function copyOf(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const content = await readContent(path);
  if (content !== undefined) return content.bytes;
  throw new AgentError('FILE_CHANGED', `${path} no longer exists`, {
    remedy: 'Run this command again',
  });
}

/** Why this node cannot return to the old CA. */
export function lostKey(node: CaPlaces & { readonly old: Pick<RolloverCa, 'key'> }): GateReason[] {
  if (node.old.key !== undefined) return [];
  return [
    {
      state: 'waiting',
      message: 'the key of the old CA is not on this node',
      remedy: `Restore ${keyFileOf(caPath(node, 'previous'))} from a backup, or complete the rollover`,
    },
  ];
}

/** @throws AgentError CA_EXTERNAL */
export function requireKey(node: RolloverNode, side: RolloverSide): NonNullable<RolloverCa['key']> {
  const { key } = node[side];
  if (key !== undefined) return key;
  const path = keyFileOf(caPath(node, side === 'old' ? 'trusted' : 'next'));
  throw new AgentError('CA_EXTERNAL', `no file of this node has the key of ${sideNames[side]}`, {
    remedy:
      side === 'old'
        ? `Put the key at ${path}; apply does not support a CA whose key is elsewhere`
        : `Copy ${path} from the control-plane node that created the CA`,
  });
}
