import { X509Certificate } from 'node:crypto';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import { hasErrno } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { withoutSecrets } from '../core/printable.ts';
import { attempt, storeError, unlessMissing } from '../sys/file-error.ts';
import { readSmallFile } from '../sys/small-file.ts';

/** The file at the path of the node's kubeconfig. */
export type KubeconfigFile =
  | { readonly kind: 'missing' }
  /** The kubeconfig of this node, no matter which program wrote it. */
  | { readonly kind: 'own'; readonly bytes: Uint8Array; readonly namesPair: boolean }
  /** An empty or cut-off kubeconfig of this node. `reason` follows the path in a sentence. */
  | {
      readonly kind: 'corrupt';
      readonly bytes: Uint8Array;
      readonly reason: string;
      readonly modifiedAt: Instant;
    }
  /** Any other file. `found` follows "PATH is" in a sentence. */
  | { readonly kind: 'foreign'; readonly found: string };

export interface KubeconfigOwner {
  readonly nodeName: string;
  /** The `-current.pem` link of the client certificate. */
  readonly certificatePath: string;
}

/**
 * Recognizes the node's own kubeconfig by its content. A marker would not help: a kubeconfig
 * that a kubelet or kubeadm writes has none. nodecertd, the kubelet and kubeadm all write one
 * cluster, one context and one user, and the user is this node: the user names the key pair that
 * nodecertd keeps, or has a certificate for system:node:NAME.
 *
 * A file that a hard reset has cut off may not contain its user. It counts as the kubeconfig of
 * this node if a known content of this file begins with it.
 * @param known previous and expected contents of the file
 * @throws AgentError STORE_PERMISSIONS, STORE_IO if the file cannot be read
 */
export async function readKubeconfigFile(
  path: string,
  owner: KubeconfigOwner,
  known: readonly Uint8Array[],
): Promise<KubeconfigFile> {
  const found = await unlessMissing(() => attempt('check', path, () => stat(path)));
  if (found === undefined) return { kind: 'missing' };
  if (found.isDirectory()) return { kind: 'foreign', found: 'a directory' };
  if (!found.isFile()) return { kind: 'foreign', found: 'not a regular file' };
  const bytes = await readBytes(path);
  if (bytes === undefined)
    return { kind: 'foreign', found: `a file of ${found.size} bytes, more than 1 MiB` };
  const reason = corruptionOf(bytes, known);
  if (reason !== undefined) {
    return { kind: 'corrupt', bytes, reason, modifiedAt: Math.floor(found.mtimeMs) };
  }
  const result = await classify(bytes, { ...owner, folder: dirname(path) });
  return result.kind === 'own' ? { ...result, bytes } : result;
}

const largestFile = 1024 * 1024;

/** Undefined for a file that is too large to be a kubeconfig. */
async function readBytes(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readSmallFile(path, largestFile);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw storeError('read', path, error);
  }
}

/** After a power loss, a file can be cut off, or keep its size and contain NUL bytes. */
function corruptionOf(bytes: Uint8Array, known: readonly Uint8Array[]): string | undefined {
  if (isBlank(bytes)) return 'is empty';
  const isCutOff = known.some(
    (whole) =>
      bytes.length <= whole.length &&
      bytes.every((byte, index) => byte === 0 || byte === whole[index]) &&
      !sameText(bytes, whole),
  );
  if (!isCutOff) return undefined;
  const end = bytes.indexOf(0);
  return `is cut off after ${end === -1 ? bytes.length : end} bytes`;
}

/** NUL, tab, line feed, carriage return, space. */
const blank: ReadonlySet<number> = new Set([0, 9, 10, 13, 32]);

function sameText(a: Uint8Array, b: Uint8Array): boolean {
  const [left, right] = [a, b].map((bytes) => Buffer.from(bytes).toString('latin1').trimEnd());
  return left === right;
}

type Classification =
  | { readonly kind: 'own'; readonly namesPair: boolean }
  | { readonly kind: 'foreign'; readonly found: string };

const text = v.nullish(v.string());
const userSchema = v.looseObject({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
});
const kubeconfigSchema = v.looseObject({
  clusters: v.strictTuple([v.looseObject({ name: v.string() })]),
  contexts: v.strictTuple([v.looseObject({ name: v.string() })]),
  users: v.strictTuple([v.looseObject({ name: v.string(), user: userSchema })]),
});
const documentSchema = v.looseObject({ kind: text, apiVersion: text });

async function classify(
  bytes: Uint8Array,
  owner: KubeconfigOwner & { readonly folder: string },
): Promise<Classification> {
  const kubeconfig = singleUser(bytes);
  if (typeof kubeconfig === 'string') return { kind: 'foreign', found: kubeconfig };
  const { name, user } = kubeconfig;
  if (await namesPair(user, owner)) return { kind: 'own', namesPair: true };
  if (await isNode(user, owner)) return { kind: 'own', namesPair: false };
  const shown = withoutSecrets(name, 80);
  return { kind: 'foreign', found: `a kubeconfig whose user ${shown} is not this node` };
}

/**
 * The user of a kubeconfig with one cluster, one context and one user, or a description of any
 * other content, which follows "PATH is" in a sentence.
 */
export function singleUser(
  bytes: Uint8Array,
): { readonly name: string; readonly user: User } | string {
  const value = parseText(bytes);
  if (typeof value === 'string') return value;
  const document = v.safeParse(documentSchema, value.document);
  if (!document.success || Array.isArray(value.document)) return 'YAML that is not a kubeconfig';
  const other = otherKind(document.output);
  if (other !== undefined) return other;
  const kubeconfig = v.safeParse(kubeconfigSchema, value.document);
  return kubeconfig.success
    ? kubeconfig.output.users[0]
    : 'a kubeconfig without exactly one cluster, one context and one user';
}

/** True for a file that is empty, or that a power loss has filled with NUL bytes. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => blank.has(byte));
}

/** The parsed document, or a description of bytes that are not YAML. */
function parseText(bytes: Uint8Array): { readonly document: unknown } | string {
  if (bytes.includes(0)) return 'binary data';
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { document: parse(decoded, { logLevel: 'error' }) };
  } catch (error) {
    return error instanceof TypeError ? 'binary data' : 'text that is not valid YAML';
  }
}

/**
 * For example `a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)`. client-go accepts a
 * kubeconfig without a kind.
 */
function otherKind({ kind, apiVersion }: v.InferOutput<typeof documentSchema>): string | undefined {
  if (kind === 'Config' || (!kind && apiVersion === 'v1')) return undefined;
  if (!kind) return 'YAML without a kind';
  const version = apiVersion ? ` (${withoutSecrets(apiVersion, 80)})` : '';
  return `a ${withoutSecrets(kind, 80)}${version}`;
}

export type User = v.InferOutput<typeof userSchema>;

/** Certificate and key must both be the link: a rotated certificate does not match another key. */
async function namesPair(
  user: User,
  { certificatePath, folder }: KubeconfigOwner & { readonly folder: string },
): Promise<boolean> {
  const files = [user['client-certificate'], user['client-key']];
  if (user['client-certificate-data'] || files.some((file) => !file)) return false;
  const expected = await canonical(certificatePath);
  const named = await Promise.all(files.map((file) => canonical(resolve(folder, file ?? ''))));
  return named.every((file) => file === expected);
}

async function isNode(
  user: User,
  { nodeName, folder }: KubeconfigOwner & { readonly folder: string },
): Promise<boolean> {
  const { 'client-certificate-data': data, 'client-certificate': file } = user;
  try {
    const pem = data
      ? Buffer.from(data, 'base64')
      : file
        ? await readBytes(resolve(folder, file))
        : undefined;
    if (pem === undefined) return false;
    const { subject } = new X509Certificate(pem);
    return subject.split('\n').includes(`CN=system:node:${nodeName}`);
  } catch {
    // Without a readable certificate, nothing shows that the user is this node.
    return false;
  }
}

/** Resolves links in the directory part of a path only. */
async function canonical(path: string): Promise<string> {
  const folder = await realpath(dirname(path)).catch((error: unknown) => {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return dirname(path);
    throw error;
  });
  return join(folder, basename(path));
}
