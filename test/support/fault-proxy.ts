import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Server as HttpsServer } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { Agent } from 'undici';
import type { Dispatcher } from 'undici';
import type { KeyPair } from './cluster-pki.ts';

export interface FaultProxyOptions {
  /** The API server behind the proxy. */
  readonly server: string;
  readonly caPem: string;
  /**
   * A client certificate cannot pass through the proxy, which ends TLS, so the proxy
   * impersonates its owner with this one.
   */
  readonly admin: KeyPair;
  /** CAs whose client certificates the proxy accepts. */
  readonly clientCas: readonly string[];
  /** The serving certificate of the proxy. */
  readonly serving: KeyPair;
}

export type ProxyVerb = 'create' | 'get' | 'watch' | 'other';

/** One request in the proxy. */
export interface Exchange {
  readonly method: string;
  readonly verb: ProxyVerb;
  readonly path: string;
  readonly body: Buffer;
  readonly response: ServerResponse;
  /** Settles when the client has disconnected or has its response. */
  readonly closed: Promise<void>;
  /** Forwards the request, and settles when the response of the API server begins. */
  pass(): Promise<Dispatcher.ResponseData>;
}

/** For a fault of requests about CSRs. */
export function verbIs(...verbs: readonly ProxyVerb[]): ProxyFault['meets'] {
  return ({ verb }) => verbs.includes(verb);
}

/** A fault that replaces the forwarding of requests. */
export interface ProxyFault {
  readonly meets: (exchange: Exchange) => boolean;
  /** The number of requests that meet it; unlimited when absent. */
  readonly times?: number;
  serve(exchange: Exchange): Promise<void>;
}

export interface SeenRequest {
  /** Milliseconds on the monotonic clock of this process. */
  readonly at: number;
  readonly method: string;
  readonly verb: ProxyVerb;
  readonly path: string;
  readonly credential: 'certificate' | 'token' | 'none';
  /** The object name in the body of a create. */
  readonly created?: string;
  readonly met: boolean;
}

/**
 * A proxy between an agent and its API server, with its own certificate. It applies the
 * faults of networks, load balancers and broken servers to requests. Without a fault it
 * forwards everything unchanged.
 */
export class FaultProxy implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  /** The times at which TCP connections were accepted. */
  readonly connections: number[] = [];
  fault: ProxyFault | undefined;
  /** The number of requests that have met the current fault. */
  met = 0;
  /** If set, accepts connections and never responds. */
  mute = false;
  readonly #options: FaultProxyOptions;
  readonly #https: HttpsServer;
  readonly #asAdmin: Agent;
  readonly #asToken: Agent;
  readonly #sockets = new Set<Socket>();
  #tcp: Server | undefined;
  #port = 0;

  private constructor(options: FaultProxyOptions) {
    this.#options = options;
    const { serving, clientCas, caPem, admin } = options;
    this.#https = createHttpsServer(
      {
        cert: serving.certificatePem,
        key: serving.keyPem,
        ca: [...clientCas],
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => void this.#handle(request, response),
    );
    // With HTTP/2, watches that end at once make Node 26.10 loop in Http2Session::SendPendingData without end.
    const patient = { headersTimeout: 0, bodyTimeout: 0, allowH2: false };
    const { certificatePem: cert, keyPem: key } = admin;
    this.#asAdmin = new Agent({ ...patient, connect: { ca: caPem, cert, key } });
    this.#asToken = new Agent({ ...patient, connect: { ca: caPem } });
  }

  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    await proxy.listen();
    return proxy;
  }

  get server(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** Replaces the fault and resets its count. */
  set(fault: ProxyFault | undefined): void {
    this.fault = fault;
    this.met = 0;
  }

  /** Shows another certificate from the next connection on, and closes the existing connections. */
  show({ certificatePem, keyPem }: KeyPair): void {
    this.#https.setSecureContext({
      cert: certificatePem,
      key: keyPem,
      ca: [...this.#options.clientCas],
    });
    this.cut();
  }

  /** Listens, always on the same port. */
  async listen(): Promise<void> {
    const tcp = createServer((socket) => {
      this.connections.push(performance.now());
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#sockets.delete(socket));
      if (!this.mute) this.#https.emit('connection', socket);
    });
    tcp.listen(this.#port, '127.0.0.1');
    await once(tcp, 'listening');
    this.#port = (tcp.address() as AddressInfo).port;
    this.#tcp = tcp;
  }

  /** Stops listening and resets the existing connections. */
  async leave(): Promise<void> {
    const closed = this.#tcp?.[Symbol.asyncDispose]();
    this.cut();
    await closed;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
    await Promise.all([this.#asAdmin.destroy(), this.#asToken.destroy()]);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    try {
      const exchange = await this.#exchange(request, response, closed);
      const { fault } = this;
      const met =
        fault !== undefined && fault.meets(exchange) && this.met < (fault.times ?? Infinity);
      if (met) this.met += 1;
      this.#note(exchange, credentialOf(request), met);
      await (met ? fault.serve(exchange) : relay(exchange));
    } catch {
      // One side has disconnected, so disconnect the other.
      request.socket.destroy();
    }
  }

  async #exchange(
    request: IncomingMessage,
    response: ServerResponse,
    closed: Promise<void>,
  ): Promise<Exchange> {
    const { url = '/', method = 'GET' } = request;
    const body = Buffer.concat(await request.toArray());
    return {
      method,
      verb: verbOf(method, url),
      path: url,
      body,
      response,
      closed,
      pass: () => this.#pass(request, body, closed),
    };
  }

  #note(
    { method, verb, path, body }: Exchange,
    credential: SeenRequest['credential'],
    met: boolean,
  ): void {
    const created = verb === 'create' ? nameIn(body) : undefined;
    this.seen.push({
      at: performance.now(),
      method,
      verb,
      path,
      credential,
      met,
      ...(created !== undefined && { created }),
    });
  }

  async #pass(
    request: IncomingMessage,
    body: Buffer,
    closed: Promise<void>,
  ): Promise<Dispatcher.ResponseData> {
    const gone = new AbortController();
    void closed.then(() => gone.abort());
    const { accept, 'content-type': type } = request.headers;
    const { agent, headers } = this.#identityOf(request);
    return agent.request({
      origin: this.#options.server,
      path: request.url ?? '/',
      method: request.method ?? 'GET',
      headers: {
        ...(accept !== undefined && { accept }),
        ...(type !== undefined && { 'content-type': type }),
        ...headers,
      },
      signal: gone.signal,
      body: body.length === 0 ? null : body,
    });
  }

  /** Forwards a token as it is, and impersonates the owner of a certificate. */
  #identityOf(request: IncomingMessage): {
    readonly agent: Agent;
    readonly headers: Readonly<Record<string, string | string[]>>;
  } {
    const peer = peerOf(request);
    // A certificate from an unknown CA and an expired one do not authenticate.
    const known =
      peer !== undefined &&
      Date.parse(peer.validTo) > Date.now() &&
      this.#options.clientCas.some((pem) => isIssuedBy(peer, pem));
    if (known) {
      return {
        agent: this.#asAdmin,
        headers: {
          'impersonate-user': subjectParts(peer, 'CN'),
          'impersonate-group': subjectParts(peer, 'O'),
        },
      };
    }
    const isAnonymous = credentialOf(request) === 'none';
    const { authorization = 'Bearer unknown' } = request.headers;
    return { agent: this.#asToken, headers: isAnonymous ? {} : { authorization } };
  }
}

function peerOf({ socket }: IncomingMessage): X509Certificate | undefined {
  return socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
}

function credentialOf(request: IncomingMessage): SeenRequest['credential'] {
  if (request.headers.authorization !== undefined) return 'token';
  return peerOf(request) === undefined ? 'none' : 'certificate';
}

/** Streams the response to the client. */
export async function relay(exchange: Exchange): Promise<void> {
  const answer = await exchange.pass();
  exchange.response.writeHead(answer.statusCode, headersOf(answer));
  exchange.response.flushHeaders();
  for await (const chunk of answer.body) exchange.response.write(chunk);
  exchange.response.end();
}

/** The headers that stay valid if the body changes. */
export function headersOf({ headers }: Dispatcher.ResponseData): Record<string, string | string[]> {
  const { 'content-type': type = 'application/json', date } = headers;
  return { 'content-type': type, ...(date !== undefined && { date }) };
}

export function isIssuedBy(certificate: X509Certificate, caPem: string): boolean {
  const ca = new X509Certificate(caPem);
  return certificate.checkIssued(ca) && certificate.verify(ca.publicKey);
}

function verbOf(method: string, url: string): ProxyVerb {
  const { pathname, searchParams } = new URL(url, 'https://proxy');
  const [, rest] = pathname.split('/certificatesigningrequests');
  if (rest === undefined) return 'other';
  if (method === 'POST') return 'create';
  return searchParams.get('watch') === 'true' ? 'watch' : 'get';
}

function nameIn(body: Buffer): string {
  const { metadata } = JSON.parse(body.toString()) as { metadata: { name: string } };
  return metadata.name;
}

/** Node returns one line for each: `O=system:nodes`. */
function subjectParts({ subject }: X509Certificate, type: 'CN' | 'O'): string[] {
  return subject
    .split('\n')
    .filter((line) => line.startsWith(`${type}=`))
    .map((line) => line.slice(type.length + 1));
}
