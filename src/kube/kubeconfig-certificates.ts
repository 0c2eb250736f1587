import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { describeError } from '../core/errors.ts';
import { withoutSecrets } from '../core/printable.ts';
import type { KeyPath, KubeconfigDocument } from './kubeconfig-document.ts';
import { isClearlyPath } from './kubeconfig-material.ts';

/** Bytes that the kubeconfig embeds, or a file that it names. */
export type KubeconfigSource =
  | { readonly kind: 'data'; readonly bytes: Uint8Array<ArrayBuffer> }
  | {
      readonly kind: 'file';
      /** Absolute. */
      readonly path: string;
      /** For messages: without the path if a key may have been pasted in its place. */
      readonly shown: string;
    };

/** A user or cluster of a kubeconfig, with what it says about certificates. */
export interface KubeconfigEntry {
  readonly kind: 'user' | 'cluster';
  readonly name: string;
  /** The current context uses this entry. */
  readonly isCurrent: boolean;
  /** The client certificate of a user, or the certificate authority of a cluster. */
  readonly certificate?: KubeconfigSource;
  readonly key?: KubeconfigSource;
  /** The other credential of a user without a client certificate. */
  readonly credential?: 'a token' | 'an exec plugin' | 'a password';
  /** The reason why a value cannot be used. */
  readonly problem?: string;
}

export interface KubeconfigEntries {
  readonly entries: readonly KubeconfigEntry[];
  /** Problems of the document itself, for example a missing current-context. */
  readonly problems: readonly string[];
}

const text = v.nullish(v.string());
const namedSchema = v.nullish(v.array(v.looseObject({ name: v.string() })), []);
const contextSchema = v.object({ cluster: text, user: text });

/**
 * Every user and cluster of a kubeconfig, not only those of the current context: each embeds a
 * certificate that can expire. The caller wipes the bytes of keys.
 * @throws AgentError KUBECONFIG_INVALID if clusters, users or contexts is not a list of entries
 */
export function kubeconfigEntries(document: KubeconfigDocument): KubeconfigEntries {
  const current = currentOf(document);
  const entries = (['user', 'cluster'] as const).flatMap((kind) =>
    namesIn(document, `${kind}s`).map((name, at) =>
      entryOf(document, { kind, name, at, isCurrent: current[kind] === name }),
    ),
  );
  return { entries, problems: current.problem === undefined ? [] : [current.problem] };
}

function namesIn(document: KubeconfigDocument, list: string): string[] {
  return (document.read(namedSchema, [list]) ?? []).map(({ name }) => name);
}

interface Current {
  readonly user?: string;
  readonly cluster?: string;
  readonly problem?: string;
}

function currentOf(document: KubeconfigDocument): Current {
  const name = document.read(text, ['current-context']);
  if (!name) return { problem: 'has no current-context' };
  const at = namesIn(document, 'contexts').indexOf(name);
  if (at === -1) {
    return { problem: `has no context ${withoutSecrets(name, 80)}, which is its current-context` };
  }
  const { user, cluster } = document.read(contextSchema, ['contexts', at, 'context']);
  return { ...(user && { user }), ...(cluster && { cluster }) };
}

function entryOf(
  document: KubeconfigDocument,
  entry: Pick<KubeconfigEntry, 'kind' | 'name' | 'isCurrent'> & { readonly at: number },
): KubeconfigEntry {
  const { kind, isCurrent } = entry;
  const known = { kind, name: withoutSecrets(entry.name, 120), isCurrent };
  const at = [`${kind}s`, entry.at, kind];
  try {
    const fields = document.read(fieldsSchema, at);
    const base = kind === 'user' ? 'client-certificate' : 'certificate-authority';
    const certificate = sourceOf(document, at, base);
    const key = kind === 'user' ? sourceOf(document, at, 'client-key') : undefined;
    const credential = certificate === undefined ? credentialOf(fields) : undefined;
    return {
      ...known,
      ...(certificate !== undefined && { certificate }),
      ...(key !== undefined && { key }),
      ...(credential !== undefined && { credential }),
    };
  } catch (error) {
    return { ...known, problem: describeError(error) };
  }
}

const fieldsSchema = v.object({
  token: text,
  tokenFile: text,
  password: text,
  exec: v.nullish(v.unknown()),
});

function credentialOf(fields: v.InferOutput<typeof fieldsSchema>): KubeconfigEntry['credential'] {
  if (fields.token || fields.tokenFile) return 'a token';
  if (fields.exec) return 'an exec plugin';
  return fields.password ? 'a password' : undefined;
}

/** As in client-go: data takes precedence, and relative paths start at the folder of the kubeconfig. */
function sourceOf(
  document: KubeconfigDocument,
  at: KeyPath,
  name: string,
): KubeconfigSource | undefined {
  const dataAt = [...at, `${name}-data`];
  const data = document.read(text, dataAt);
  if (data) {
    try {
      return { kind: 'data', bytes: Uint8Array.fromBase64(data) };
    } catch {
      throw document.failure('KUBECONFIG_INVALID', dataAt, { message: 'is not base64' });
    }
  }
  const named = document.read(text, [...at, name]);
  if (!named) return undefined;
  const path = resolve(dirname(document.path), named);
  return { kind: 'file', path, shown: isClearlyPath(named) ? path : 'a file' };
}
