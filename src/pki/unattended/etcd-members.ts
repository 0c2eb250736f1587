import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { AgentError, describeError } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import { readBoundedFile } from '../../sys/small-file.ts';
import { fileIn, flagValue } from '../components/component-flags.ts';
import type { Component } from '../components/component.ts';

/** The etcd members that the API server of this node uses, and its files for them. */
export interface EtcdMembers {
  /** Without those on loopback, which the API servers of their own nodes test. */
  readonly urls: readonly URL[];
  readonly files: readonly (string | undefined)[];
}

/** By the flags of the API server; no URLs without an API server. */
export function etcdMembersOf(components: readonly Component[]): EtcdMembers {
  const server = components.find(({ name }) => name === 'kube-apiserver');
  if (server === undefined) return { urls: [], files: [] };
  const urls = (flagValue(server.flags, 'etcd-servers') ?? '')
    .split(',')
    .flatMap((text) => URL.parse(text.trim()) ?? [])
    .filter(({ protocol, hostname }) => protocol === 'https:' && !loopback.test(hostname));
  const files = ['etcd-cafile', 'etcd-certfile', 'etcd-keyfile'].map((flag) =>
    fileIn(server, flag),
  );
  return { urls, files };
}

const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** What is wrong with these members, one sentence each. @throws AgentError ABORTED */
export async function unhealthyMembers(
  { urls, files }: EtcdMembers,
  signal: AbortSignal,
): Promise<string[]> {
  if (urls.length === 0) return [];
  try {
    const [ca, cert, key] = await Promise.all(files.map(readIfNamed));
    using _ = { [Symbol.dispose]: () => key?.fill(0) };
    const tls = { ca, cert, key };
    const found = await Promise.all(urls.map((url) => problemOf(url, tls, signal)));
    return found.flatMap((problem, index) =>
      problem === undefined ? [] : [`etcd at ${urls[index]?.origin} is unhealthy: ${problem}`],
    );
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AgentError)) throw error;
    return [`the health of etcd is unknown: ${describeError(error)}`];
  }
}

/** @throws AgentError PAIR_MALFORMED, STORE_* */
async function readIfNamed(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  using file = await readBoundedFile(path);
  return Buffer.from(file.content.expose());
}

async function problemOf(
  url: URL,
  tls: Readonly<Record<'ca' | 'cert' | 'key', Buffer | undefined>>,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const stop = AbortSignal.any([signal, AbortSignal.timeout(10 * second)]);
    const request = get(new URL('/health', url), { ...tls, agent: false, signal: stop });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.destroy();
    return response.statusCode === 200
      ? undefined
      : `/health answers with HTTP status ${response.statusCode}`;
  } catch (error) {
    signal.throwIfAborted();
    return describeError(error);
  }
}
