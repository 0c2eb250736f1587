import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { concat, encodePem, parsePem } from '../core/pem.ts';
import { printable } from '../core/printable.ts';
import { Secret } from '../core/secret.ts';
import type { CertificateAuthority, ClientCertificate } from './cluster-access.ts';
import type { KeyPath, KubeconfigDocument } from './kubeconfig-document.ts';
import { readSmallFile } from '../sys/small-file.ts';

/** A kubeconfig with its certificates, or a file that it names, has a few kB. */
export const fileLimit = 1024 * 1024;

/** The certificate authorities of a cluster; undefined if the cluster names none. */
export async function loadAuthority(
  document: KubeconfigDocument,
  at: KeyPath,
): Promise<CertificateAuthority | undefined> {
  const source = await bytesOf(document, at, 'certificate-authority');
  if (source === undefined) return undefined;
  certificatesOf(document, source);
  return { pem: source.bytes, ...(source.file !== undefined && { file: source.file }) };
}

/** The client certificate of a user with its key; undefined if the user has none. */
export async function loadClientCertificate(
  document: KubeconfigDocument,
  at: KeyPath,
): Promise<ClientCertificate | undefined> {
  const certificate = await bytesOf(document, at, 'client-certificate');
  // A combined file is read once: a rotation between two reads would mix two key pairs.
  const key = isSameFile(document, at) ? certificate : await bytesOf(document, at, 'client-key');
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    const missing = certificate === undefined ? 'client-certificate' : 'client-key';
    throw document.failure('KUBECONFIG_INVALID', at, {
      message: `has no ${missing} for its ${missing === 'client-key' ? 'certificate' : 'key'}`,
      remedy: 'Set client-certificate and client-key, or neither of them',
    });
  }
  const pem = certificatesOf(document, certificate);
  if (key !== certificate) certificate.bytes.fill(0);
  return { pem, key: new Secret(key.bytes) };
}

const text = v.nullish(v.string());

const pairSchema = v.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
});

function isSameFile(document: KubeconfigDocument, at: KeyPath): boolean {
  const fields = document.read(pairSchema, at);
  if (fields['client-certificate-data'] || fields['client-key-data']) return false;
  return Boolean(fields['client-key']) && fields['client-key'] === fields['client-certificate'];
}

interface Source {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly at: KeyPath;
  readonly file?: string;
}

/** The content of `NAME-data`, or of the file that `NAME` names. */
async function bytesOf(
  document: KubeconfigDocument,
  at: KeyPath,
  name: string,
): Promise<Source | undefined> {
  const dataAt = [...at, `${name}-data`];
  const data = document.read(text, dataAt);
  if (data) {
    try {
      return { bytes: Uint8Array.fromBase64(data), at: dataAt };
    } catch {
      throw document.failure('KUBECONFIG_INVALID', dataAt, { message: 'is not base64' });
    }
  }
  const named = document.read(text, [...at, name]);
  if (!named) return undefined;
  const file = resolve(dirname(document.path), named);
  try {
    return {
      bytes: await readSmallFile(await document.locate(file), fileLimit),
      at: [...at, name],
      file,
    };
  } catch (error) {
    throw document.failure('KUBECONFIG_INVALID', [...at, name], unreadable(named, file, error));
  }
}

/** An administrator may paste a key in place of its path, so the error repeats the text only if it is clearly a path. */
function unreadable(
  named: string,
  file: string,
  cause: unknown,
): { readonly message: string; readonly cause: unknown } {
  if (isClearlyPath(named)) return { message: `names ${file}, which cannot be read`, cause };
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unreadable';
  return {
    message: `names a file that cannot be read, relative to the folder of the kubeconfig (${code})`,
    cause: undefined,
  };
}

/**
 * True for one line that begins or ends like a path, and in which no part of a key in base64 was
 * pasted. PEM, base64 of PEM, and tokens are no paths.
 */
export function isClearlyPath(named: string): boolean {
  const known = /^\.{0,2}\/|\.(?:pem|crt|cer|cert|key|token)$/;
  const isPath = known.test(named) && named.length < 256 && printable(named) === named;
  return isPath && !hasBase64(named);
}

/** Names of files hardly mix capital and small letters over 24 characters; base64 does. */
function hasBase64(text: string): boolean {
  const runs = text.match(/[A-Za-z0-9+/=]{24,}/g) ?? [];
  return runs.some((run) => countOf(/[A-Z]/g, run) >= 3 && countOf(/[a-z]/g, run) >= 3);
}

function countOf(letters: RegExp, text: string): number {
  return text.match(letters)?.length ?? 0;
}

/** The CERTIFICATE blocks of a source, encoded again. Wipes the parsed blocks, which may include keys. */
function certificatesOf(document: KubeconfigDocument, source: Source): Uint8Array<ArrayBuffer> {
  const name = source.file ?? 'the data';
  try {
    const blocks = parsePem(source.bytes);
    const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
    const pem = concat(certificates.map(({ label, der }) => encodePem(label, der)));
    for (const { der } of blocks) der.fill(0);
    if (certificates.length > 0) return pem;
  } catch {
    // Without the cause, which may quote a part of the key from a corrupt block.
    throw document.failure('KUBECONFIG_INVALID', source.at, {
      message: `cannot be used: ${name} is not PEM`,
    });
  }
  throw document.failure('KUBECONFIG_INVALID', source.at, {
    message: `cannot be used: ${name} contains no certificate`,
  });
}
