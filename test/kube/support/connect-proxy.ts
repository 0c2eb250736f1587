import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';

/**
 * A CONNECT proxy (RFC 9110, section 9.3.6) that records its requests and resolves every name to
 * 127.0.0.1.
 * @param answer the status of its responses; 0 for no response
 */
export async function startProxy(
  answer = 200,
): Promise<AsyncDisposable & { url: string; seen: string[] }> {
  const seen: string[] = [];
  const sockets = new Set<{ destroy(): void }>();
  const proxy = createServer();
  proxy.on('connect', (request, socket) => {
    sockets.add(socket);
    seen.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    if (answer === 0) return;
    if (answer !== 200) {
      socket.end(`HTTP/1.1 ${answer} No\r\n\r\n`);
      return;
    }
    const [, port] = (request.url ?? '').split(':');
    const upstream = connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    sockets.add(upstream);
    for (const end of [socket, upstream]) {
      end.on('error', () => {
        // The other end closed the connection.
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    seen,
    url: `http://user:pa%3Ass@127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
