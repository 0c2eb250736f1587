import { createHash } from 'node:crypto';
import type { CaPin } from '../core/ca-pin.ts';
import { AgentError, hasErrno } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { fileLimit } from '../kube/kubeconfig-material.ts';
import type { SingleResponse } from '../kube/single-get.ts';
import { getOnce } from '../kube/single-get.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { connectionFailure } from './connection-failure.ts';
import type { DiscoveryContext } from './discovery.ts';

/** Where the kubeconfig for the discovery is. */
export type FileSource =
  | { readonly kind: 'file'; readonly path: string }
  /** An https:// URL without user and password. */
  | { readonly kind: 'url'; readonly url: URL };

/** A hash of the content of a file, in the same form as a pin. */
export type FileHash = CaPin;

export interface DiscoveryFile {
  /** The path or the URL, for messages. */
  readonly name: string;
  readonly text: string;
}

export interface FileOptions {
  readonly source: FileSource;
  readonly hash?: FileHash;
  readonly proxyUrl?: string;
}

/**
 * Reads the file from this machine, or from a web server whose certificate the CAs of the system
 * verify. The content must have the hash, if there is one.
 * @throws AgentError KUBECONFIG_MISSING, KUBECONFIG_INVALID; CLUSTER_UNTRUSTED for another hash;
 * API_*, ABORTED
 */
export async function readDiscoveryFile(
  { source, hash, proxyUrl }: FileOptions,
  context: DiscoveryContext,
): Promise<DiscoveryFile> {
  const name = nameOf(source);
  const bytes =
    source.kind === 'file'
      ? await readFile(source.path)
      : await download(source.url, { proxyUrl, context });
  try {
    requireHash(bytes, hash, name);
    return { name, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof AgentError) throw error;
    throw new AgentError('KUBECONFIG_INVALID', `${name} is not UTF-8 text`, {
      remedy: 'Set --discovery-file to a kubeconfig',
    });
  } finally {
    bytes.fill(0);
  }
}

function nameOf(source: FileSource): string {
  return source.kind === 'file' ? source.path : shown(source.url);
}

async function readFile(path: string): Promise<Uint8Array> {
  try {
    return await readSmallFile(path, fileLimit);
  } catch (error) {
    const missing = hasErrno(error, 'ENOENT', 'ENOTDIR');
    const reason = error instanceof RangeError ? error.message : 'cannot be read';
    throw new AgentError(
      missing ? 'KUBECONFIG_MISSING' : 'KUBECONFIG_INVALID',
      `--discovery-file ${path} ${missing ? 'does not exist' : reason}`,
      { ...(!(error instanceof RangeError) && { cause: error }), remedy: copyFile },
    );
  }
}

function requireHash(bytes: Uint8Array, hash: FileHash | undefined, name: string): void {
  if (hash === undefined) return;
  const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (found === hash) return;
  throw new AgentError('CLUSTER_UNTRUSTED', `${name} has the hash ${found}, expected ${hash}`, {
    remedy:
      'Ask the cluster administrator for the hash, and compare it with the hash of the file: sha256sum FILE',
  });
}

/** One redirect is usual. Go's client follows ten. */
const mostRedirects = 5;

/** For the connection and the whole file. */
const limitMs = 10 * second;

interface DownloadOptions {
  readonly proxyUrl: string | undefined;
  readonly context: DiscoveryContext;
}

async function download(start: URL, options: DownloadOptions): Promise<Uint8Array> {
  let url = start;
  for (let redirects = 0; redirects <= mostRedirects; redirects += 1) {
    const response = await get(url, options);
    if (response.kind === 'unverified') throw unverified(url, response.code);
    const { status, headers, body } = response;
    if (status === 200) return body;
    const location = headers['location'];
    if (!redirectStatuses.has(status) || location === undefined) throw noFile(url, status);
    url = redirected(url, location);
  }
  throw new AgentError(
    'API_BAD_RESPONSE',
    `${shown(start)}: more than ${mostRedirects} redirects`,
    {
      remedy: copyFile,
    },
  );
}

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

async function get(
  url: URL,
  { proxyUrl, context: { clock, signal, version } }: DownloadOptions,
): Promise<SingleResponse> {
  const access = withSystemAuthorities(url, proxyUrl);
  const path = `${url.pathname}${url.search}`;
  try {
    return await getOnce({ access, path, version, clock, signal, limitMs, bodyBytes: fileLimit });
  } catch (error) {
    if (!(error instanceof AgentError) || error.code === 'ABORTED') throw error;
    throw new AgentError(
      error.code,
      `cannot download ${shown(url)}: ${reasonOf(error, url, access)}`,
      {
        remedy: `Check that this machine can connect to ${url.host}; if only a proxy can, add --proxy URL, because nodecertd discover does not use HTTPS_PROXY`,
      },
    );
  }
}

/** In the words for an API server, unless they would call the web server an API server. */
function reasonOf(error: AgentError, url: URL, access: ClusterAccess): string {
  const { code, message } = connectionFailure(error, access);
  if (code !== 'API_BAD_RESPONSE') return message;
  return error.message
    .replace(/^get \S+(?: at \S+)?(?: through proxy .*?\))?: /, '')
    .replaceAll(`${url.pathname}${url.search}`, url.pathname);
}

function withSystemAuthorities(url: URL, proxyUrl: string | undefined): ClusterAccess {
  return {
    path: shown(url),
    cluster: {
      server: url.origin,
      ignoresProxyVariables: true,
      insecureSkipTlsVerify: false,
      ...(proxyUrl !== undefined && { proxyUrl }),
    },
    credential: {},
    [Symbol.dispose]: () => undefined,
  };
}

/** @throws AgentError API_UNTRUSTED for a URL without TLS */
function redirected(from: URL, location: string): URL {
  const to = URL.parse(location, from);
  if (to?.protocol === 'https:' && to.username === '' && to.password === '') return to;
  throw new AgentError(
    'API_UNTRUSTED',
    `${shown(from)} redirects to ${to === null ? 'text that is no URL' : shown(to)}, not to an https:// URL without a password`,
    { remedy: copyFile },
  );
}

function unverified(url: URL, code: string): AgentError {
  return new AgentError(
    'API_UNTRUSTED',
    `the CAs of this system do not verify the certificate of ${url.host} (${printable(code, 60)})`,
    { remedy: `Add the CA of ${url.host} to this system; or ${copyFileInstead}` },
  );
}

function noFile(url: URL, status: number): AgentError {
  return new AgentError('API_BAD_RESPONSE', `${shown(url)}: HTTP status ${status}, expected 200`, {
    remedy: copyFile,
  });
}

/** Without the query, which may contain a signature, and without a password. */
function shown({ protocol, host, pathname }: URL): string {
  return printable(`${protocol}//${host}${pathname}`, 200);
}

const copyFileInstead = 'copy the file to this machine and set --discovery-file to its path';
const copyFile =
  'Check the path or the URL; or copy the file to this machine and set --discovery-file to its path';
