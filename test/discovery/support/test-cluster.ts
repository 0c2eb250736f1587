import { createHash, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { BootstrapToken } from '../../../src/core/bootstrap-token.ts';
import { parseBootstrapToken } from '../../../src/core/bootstrap-token.ts';
import type { CaPin } from '../../../src/core/ca-pin.ts';
import { minute } from '../../../src/core/instant.ts';
import { discoverCluster } from '../../../src/discovery/discover-cluster.ts';
import type {
  DiscoveredCluster,
  DiscoveryContext,
  DiscoveryRequest,
} from '../../../src/discovery/discovery.ts';
import { signatureOf } from '../../../src/discovery/signature.ts';
import type { Handler } from '../../kube/support/api-server.ts';
import {
  ApiServer,
  base64,
  sendJson,
  sendStatus,
  servingPair,
} from '../../kube/support/api-server.ts';
import type { Authority, Pair } from '../../kube/support/certificates.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { FakeClock } from '../../support/fake-clock.ts';

export const tokenText = 'abcdef.0123456789abcdef';

export function tokenOf(text = tokenText): BootstrapToken {
  const token = parseBootstrapToken(Buffer.from(text));
  if (token === undefined) throw new Error(`${text} is not a bootstrap token`);
  return token;
}

/** Computed with OpenSSL, which shares no code with the program. */
export function pinOf(pem: string): CaPin {
  const der = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(der).digest('hex')}`;
}

export interface TestClusterOptions {
  readonly authority?: Authority;
  /** The certificate of the server, and certificates after it. */
  readonly pair?: Pair;
  readonly address?: '127.0.0.1' | '::1';
  /** In PEM; the CA of the server if absent. */
  readonly bundle?: readonly string[];
}

/** An API server that serves cluster-info and authenticates bootstrap tokens. */
export class TestCluster implements AsyncDisposable {
  readonly api: ApiServer;
  bundle: readonly string[];
  /** The server that cluster-info names; this one if absent. */
  named: string | undefined;
  /** Tokens for which cluster-info is signed. */
  signing: readonly string[] = [tokenText];
  /** Tokens that authenticate. */
  authenticating: readonly string[] = [tokenText];
  /** The user of a token that authenticates; the user of its id if absent. */
  username: string | undefined;
  /** False for Kubernetes before 1.28. */
  hasReviews = true;
  /** Replaces the responses to GET of cluster-info. */
  respond: Handler | undefined;
  /** Other keys of the cluster in cluster-info. */
  extraKeys: Readonly<Record<string, unknown>> = {};
  /** The number of GETs of cluster-info. */
  reads = 0;

  private constructor(api: ApiServer, bundle: readonly string[]) {
    this.api = api;
    this.bundle = bundle;
    api.handler = (request, response) => {
      this.#handle(request, response);
    };
  }

  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const authority = options.authority ?? (await makeAuthority('kubernetes'));
    const pair = options.pair ?? (await servingPair(authority));
    const { address } = options;
    const api = await ApiServer.start(() => undefined, {
      authority,
      pair,
      ...(address !== undefined && { address }),
    });
    return new TestCluster(api, options.bundle ?? [authority.pem]);
  }

  get authority(): Authority {
    return this.api.authority;
  }

  get endpoint(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: this.api.port };
  }

  /** The values of Authorization that this server has received. */
  get credentials(): readonly (string | undefined)[] {
    return this.api.requests.flatMap(({ headers }) => headers.authorization ?? []);
  }

  get kubeconfig(): string {
    const cluster = {
      server: this.named ?? this.api.url,
      'certificate-authority-data': base64(this.bundle.join('')),
      ...this.extraKeys,
    };
    return JSON.stringify({ apiVersion: 'v1', kind: 'Config', clusters: [{ name: '', cluster }] });
  }

  /** The data of the ConfigMap. */
  get data(): Record<string, string> {
    const { kubeconfig } = this;
    const signatures = this.signing.map((text) => {
      const token = tokenOf(text);
      return [`jws-kubeconfig-${token.id}`, signatureOf(kubeconfig, token)];
    });
    return { kubeconfig, ...Object.fromEntries(signatures) };
  }

  sendClusterInfo(response: ServerResponse, data = this.data): void {
    const metadata = { name: 'cluster-info', namespace: 'kube-public', uid: 'u' };
    sendJson(response, { kind: 'ConfigMap', apiVersion: 'v1', metadata, data });
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '/', this.api.url);
    if (pathname === '/api/v1/namespaces/kube-public/configmaps/cluster-info') {
      this.reads += 1;
      if (this.respond === undefined) this.sendClusterInfo(response);
      else this.respond(request, response);
    } else if (
      this.hasReviews &&
      pathname === '/apis/authentication.k8s.io/v1/selfsubjectreviews'
    ) {
      this.#review(request, response);
    } else if (pathname === '/version') {
      if (this.#tokenOf(request) === undefined) sendStatus(response, 401);
      else sendJson(response, { gitVersion: 'v1.27.0' });
    } else sendStatus(response, 404, { reason: 'NotFound' });
  }

  #tokenOf({ headers }: IncomingMessage): string | undefined {
    return this.authenticating.find((text) => headers.authorization === `Bearer ${text}`);
  }

  #review(request: IncomingMessage, response: ServerResponse): void {
    const token = this.#tokenOf(request);
    if (token === undefined) {
      sendStatus(response, 401, { reason: 'Unauthorized' });
      return;
    }
    const username = this.username ?? `system:bootstrap:${token.slice(0, 6)}`;
    sendJson(response, {
      kind: 'SelfSubjectReview',
      apiVersion: 'authentication.k8s.io/v1',
      status: { userInfo: { username, groups: ['system:bootstrappers'] } },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]();
  }
}

/** A request that leads to the cluster. */
export function requestFor(
  cluster: TestCluster,
  parts: Partial<DiscoveryRequest> = {},
): DiscoveryRequest {
  return {
    endpoints: [cluster.endpoint],
    token: tokenOf(),
    pins: [pinOf(cluster.authority.pem)],
    onlyPinned: false,
    timeoutMs: 5 * minute,
    ...parts,
  };
}

/** A discovery that runs on a fake clock with the time of the machine. */
export class Trial {
  readonly clock = new FakeClock(Date.now());
  readonly lines: string[] = [];
  readonly #abort = new AbortController();
  readonly result: Promise<DiscoveredCluster>;
  #waiting = Promise.withResolvers<undefined>();

  constructor(request: DiscoveryRequest, context: Partial<DiscoveryContext> = {}) {
    this.result = discoverCluster(request, {
      clock: this.clock,
      signal: this.#abort.signal,
      version: '1.2.3',
      progress: (line) => {
        this.lines.push(line);
        this.#waiting.resolve(undefined);
      },
      ...context,
    });
    // Tests await the result later.
    this.result.catch(() => undefined);
  }

  /** Settles with the next line of progress since the last call. */
  async line(): Promise<void> {
    await this.#waiting.promise;
    this.#waiting = Promise.withResolvers<undefined>();
  }

  cancel(): void {
    this.#abort.abort();
  }
}

/** Discovers a cluster without any wait. */
export function discover(
  cluster: TestCluster,
  parts: Partial<DiscoveryRequest> = {},
): Promise<DiscoveredCluster> {
  return new Trial(requestFor(cluster, parts)).result;
}

/** Resolves when the server has received so many GETs of cluster-info, and no connection is open. */
export async function idleAfter(cluster: TestCluster, reads: number): Promise<void> {
  while (cluster.reads < reads || cluster.api.open > 0) {
    await setImmediate();
  }
}
