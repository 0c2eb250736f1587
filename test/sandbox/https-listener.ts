import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:https';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { AgentError } from '../../src/core/errors.ts';
import type { PemPair } from './ca.ts';

export interface HttpsListenerOptions {
  readonly pair: PemPair;
  /** The CA that the server names in its request for a client certificate. */
  readonly caPem: string;
  readonly handle: (
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ) => Promise<void>;
}

/** A TLS server on loopback that can release its port and take it again. */
export class HttpsListener {
  readonly #options: HttpsListenerOptions;
  #running:
    | { readonly server: Server; readonly port: number; readonly stop: () => void }
    | undefined;

  constructor(options: HttpsListenerOptions) {
    this.#options = options;
  }

  get listening(): boolean {
    return this.#running !== undefined;
  }

  /** Listens on a port, or on a free one for 0, and returns it. @throws AgentError API_UNREACHABLE */
  async listen(port: number): Promise<number> {
    if (this.#running !== undefined) return this.#running.port;
    const { pair, caPem, handle } = this.#options;
    const stopping = new AbortController();
    const sockets = new Set<Socket>();
    const server = createServer(
      {
        key: pair.key,
        cert: pair.certificate,
        ca: caPem,
        requestCert: true,
        // The authenticator verifies certificates at each request and answers with a
        // Status.
        rejectUnauthorized: false,
        // Longer than the idle timeout of typical clients, so that the client closes
        // the connection.
        keepAliveTimeout: 120_000,
      },
      (request, response) => {
        void handle(request, response, stopping.signal);
      },
    );
    // All TCP sockets, including those without a complete handshake, because none may
    // survive a stop.
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    const found = await listenOn(server, port);
    const stop = (): void => {
      stopping.abort();
      for (const socket of sockets) socket.destroy();
    };
    this.#running = { server, port: found, stop };
    return found;
  }

  /** Releases the port and breaks every connection, like a machine that loses power. */
  async close(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    const closed = new Promise<void>((resolve) => {
      running.server.close(() => {
        resolve();
      });
    });
    running.stop();
    await closed;
  }
}

async function listenOn(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, '127.0.0.1', resolve);
  try {
    await promise;
  } catch (error) {
    throw new AgentError('API_UNREACHABLE', `the sandbox cannot listen on 127.0.0.1:${port}`, {
      cause: error,
      remedy: 'Choose another port, or 0 for a free one',
    });
  }
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}
