/**
 * A server as many are: it reads its pair when it starts and at each SIGHUP, and serves
 * it over TLS on loopback until it is killed. Says its port on standard output.
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
    // There is none yet: handshakes fail until the next signal.
  }
}

server.on('tlsClientError', () => undefined);
process.on('SIGHUP', load);
load();
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
