import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** Forwards TCP to the API server and counts the bytes in both directions, TLS included. */
export class CountingProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #bytes = 0;

  constructor(targetPort: number) {
    this.#server = createServer((downstream) => {
      const upstream = connect(targetPort, '127.0.0.1');
      this.#pass(downstream, upstream);
      this.#pass(upstream, downstream);
    });
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns the URL of the proxy, which replaces that of the API server. */
  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length;
    });
    // A reset on one side closes the other side, too.
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.pipe(to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#server[Symbol.asyncDispose]();
  }
}
