import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerOptions } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClusterAccess } from '../../../src/kube/cluster-access.ts';
import { loadKubeconfig } from '../../../src/kube/kubeconfig.ts';
import type { KubeClientOptions } from '../../../src/kube/rest-client.ts';
import { KubeClient } from '../../../src/kube/rest-client.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import type { Authority, Pair } from './certificates.ts';
import { makeAuthority } from './certificates.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTPS server on loopback that counts connections; the test sets its handler. */
export class ApiServer implements AsyncDisposable {
  readonly authority: Authority;
  readonly server: Server;
  readonly requests: { method: string; url: string; headers: IncomingMessage['headers'] }[] = [];
  connections = 0;
  handler: Handler;
  readonly #sockets = new Set<Socket>();

  private constructor(authority: Authority, options: ServerOptions, handler: Handler) {
    this.authority = authority;
    this.handler = handler;
    this.server = createServer(options, (request, response) => {
      this.requests.push({
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
      });
      this.handler(request, response);
    });
    this.server.on('connection', (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {
        // Tests break connections deliberately.
      });
    });
    this.server.on('tlsClientError', () => {
      // Tests break handshakes too.
    });
  }

  static async start(
    handler: Handler,
    options: {
      readonly authority?: Authority;
      readonly pair?: Pair;
      readonly tls?: ServerOptions;
      /** A loopback address. */
      readonly address?: '127.0.0.1' | '::1';
    } = {},
  ): Promise<ApiServer> {
    const authority = options.authority ?? (await makeAuthority('test-ca'));
    const pair = options.pair ?? (await servingPair(authority));
    const server = new ApiServer(authority, { ...pair, ...options.tls }, handler);
    server.server.listen(0, options.address ?? '127.0.0.1');
    await once(server.server, 'listening');
    return server;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  /** The number of open sockets. */
  get open(): number {
    return this.#sockets.size;
  }

  cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cutConnections();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }
}

export function servingPair(authority: Authority): Promise<Pair> {
  return authority.issue({ commonName: 'api', usages: ['server auth'], ips: ['127.0.0.1'] });
}

export interface KubeconfigParts {
  readonly cluster: Readonly<Record<string, unknown>>;
  readonly user?: Readonly<Record<string, unknown>>;
}

/** In JSON, which is YAML too. */
export function kubeconfigText({ cluster, user = { token: 'abc' } }: KubeconfigParts): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
  });
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** A directory that is removed on disposal. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kube-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function accessTo(
  server: ApiServer,
  parts: Partial<KubeconfigParts> = {},
): Promise<ClusterAccess> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kubeconfig');
  const cluster = {
    server: server.url,
    'certificate-authority-data': base64(server.authority.pem),
    ...parts.cluster,
  };
  await writeFile(path, kubeconfigText({ ...parts, cluster }));
  return await loadKubeconfig(path);
}

export async function clientOf(
  server: ApiServer,
  options: Partial<KubeClientOptions> & { readonly parts?: Partial<KubeconfigParts> } = {},
): Promise<KubeClient> {
  const { parts, ...rest } = options;
  return KubeClient.open({
    access: await accessTo(server, parts),
    version: '1.2.3',
    clock: systemClock,
    ...rest,
  });
}

export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** An error in the form that every API server gives it. */
export function sendStatus(
  response: ServerResponse,
  code: number,
  parts: Readonly<Record<string, unknown>> = {},
): void {
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure' };
  sendJson(response, { ...status, ...parts, code }, code);
}
