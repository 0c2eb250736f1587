import { AgentError, hasCode } from '../../core/errors.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import { keyFileOf } from '../../pki/layout.ts';
import { haveSameKey } from '../../pki/renewal/certificate-chain.ts';
import type { GateReason, RolloverSide } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import { applyCommand } from './apply-command.ts';
import { bothCas, hasKey } from './ca-files.ts';
import { hasExternalEtcd } from './etcd/support.ts';
import { kubeconfigNames } from './kubeconfig.ts';
import type { PairName } from './leaf.ts';
import { pairNames, readLeaf } from './leaf.ts';
import type { CaFile, RolloverNode } from './node-files.ts';
import { caPath } from './node-files.ts';
import type { Stage } from './task.ts';

/**
 * The latest step that has begun on this node. It is derived from files and certificates, because a
 * saved step could be wrong after an interruption, a backup or a command by hand.
 */
export async function latestStep(node: RolloverNode): Promise<Stage> {
  const { found } = node;
  const isByNext = await areByNext(node, issuedNames(node));
  // `abort` keeps the file of the previous kubernetes CA, and removes that of the others last.
  const hasPrevious = node.ca !== 'kubernetes' && found.previous !== undefined;
  if (
    hasPrevious ||
    isFirst(node, 'signing') ||
    isByNext.some(Boolean) ||
    (await hasKubeconfigByNext(node))
  ) {
    const lacksOld = has(node, 'trusted', 'next') && !has(node, 'trusted', 'old');
    // With a certificate from the old CA, ca.crt has lost the old CA by mistake.
    return lacksOld && isByNext.every(Boolean) ? 'finish' : 'switch';
  }
  return found.signing !== undefined || has(node, 'trusted', 'next') ? 'trust' : 'create';
}

/**
 * The step `abort` has made the old CA issue again, after the new one has issued certificates. `create` and
 * `trust` do not write the file of the previous CA.
 */
export function isSwitchedBack({ found }: RolloverNode, latest: Stage): boolean {
  return latest === 'trust' && found.previous !== undefined;
}

/** The certificates of this node from the CA. Those of the members of external etcd are elsewhere. */
function issuedNames(node: RolloverNode): readonly PairName[] {
  return hasExternalEtcd(node) ? ['apiserver-etcd-client'] : pairNames[node.ca];
}

/** The kubeconfigs change last, in both directions. One that cannot be parsed says nothing. */
async function hasKubeconfigByNext(node: RolloverNode): Promise<boolean> {
  if (node.ca !== 'kubernetes') return false;
  for (const name of kubeconfigNames) {
    const [isByNext] = await areByNext(node, [name]).catch(unlessUnparsable);
    if (isByNext === true) return true;
  }
  return false;
}

function unlessUnparsable(error: unknown): boolean[] {
  if (error instanceof AgentError && !hasCode(error, 'STORE_IO', 'STORE_PERMISSIONS')) return [];
  throw error;
}

async function areByNext(node: RolloverNode, names: readonly string[]): Promise<boolean[]> {
  const leaves = await Promise.all(names.map(async (name) => readLeaf(node, name)));
  return leaves.map((leaf) => leaf?.by === 'next');
}

function has({ found, ...node }: RolloverNode, file: CaFile, side: RolloverSide): boolean {
  return (found[file] ?? []).some((one) => haveSameKey(one, node[side].certificate));
}

/** The new CA is the first one of the file. */
function isFirst({ found, next }: RolloverNode, file: CaFile): boolean {
  const [first] = found[file] ?? [];
  return first !== undefined && haveSameKey(first, next.certificate);
}

/**
 * The step that repairs the files of this node. Until the new CA signs, a `switch` that has begun needs
 * its gates, so the step before it repairs the files.
 */
export function repairingStep(node: RolloverNode, latest: Stage): Stage {
  const isSwitched = isFirst(node, 'signing') || isFirst(node, 'trusted');
  return latest === 'switch' && !isSwitched ? 'trust' : latest;
}

/** Files of this node that stop signing, or reject clients, and the step that repairs them. */
export async function harmOn(node: RolloverNode, latest: Stage): Promise<GateReason[]> {
  if (latest === 'create') return [];
  const remedy = `Run on this node: ${applyCommand(repairingStep(node, latest), node.ca)}`;
  const messages = [...signingHarm(node), ...(await keyHarm(node)), ...trustHarm(node, latest)];
  return messages.map((message) => ({ state: 'harmful', message, remedy }));
}

/** `kubeadm upgrade` and templates reset the flags. */
function signingHarm({ found: { trusted = [] }, components, ...node }: RolloverNode): string[] {
  const manager = components.find(({ name }) => name === 'kube-controller-manager');
  const path = caPath(node, 'trusted');
  if (trusted.length < 2 || fileIn(manager, 'cluster-signing-cert-file') !== path) return [];
  return [
    `kube-controller-manager signs nothing: --cluster-signing-cert-file names ${path}, which has ${trusted.length} certificates`,
  ];
}

/** If neither key is on this node, nothing signs with them here. */
async function keyHarm(node: RolloverNode): Promise<string[]> {
  if (node.old.key === undefined && node.next.key === undefined) return [];
  const path = caPath(node, 'trusted');
  const key = keyFileOf(path);
  const side = isFirst(node, 'trusted') ? 'next' : 'old';
  if (await hasKey(node, key, side)) return [];
  return [`${key} does not match the first certificate of ${path}, so kubeadm signs nothing`];
}

/** A file from a backup lacks the CA by which clients have certificates already. */
function trustHarm(node: RolloverNode, latest: Stage): string[] {
  return missingAuthorities(node, latest).map(
    (side) =>
      `${caPath(node, 'trusted')} lacks ${sideNames[side]}, so clients with a certificate from it are rejected`,
  );
}

/** The CAs that clients have certificates from, and that `ca.crt` lacks. */
export function missingAuthorities(node: RolloverNode, latest: Stage): RolloverSide[] {
  if (latest !== 'switch' && !isSwitchedBack(node, latest)) return [];
  return bothCas.filter((side) => !has(node, 'trusted', side));
}
