/**
 * A typical TLS server: it reads its pair at the start and after each SIGHUP. It
 * listens on loopback until it is killed, and prints its port.
 */
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';

const [file = ''] = process.argv.slice(2);
const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.end();
});

function load(): void {
  try {
    const pem = readFileSync(file);
    server.setSecureContext({ cert: pem, key: pem });
  } catch {
    // The pair does not exist yet. Handshakes fail until the next signal.
  }
}

server.on('tlsClientError', () => undefined);
process.on('SIGHUP', load);
load();
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
