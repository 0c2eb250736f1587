import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** Passes TCP on to the API server and counts the bytes of both directions, TLS included. */
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

  /** Returns the address to use instead of the API server's. */
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
    // Either side may reset; the other is ended with it, and there is nobody to tell.
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
