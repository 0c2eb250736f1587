import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { second } from '../core/instant.ts';

export interface Handshake {
  readonly host: string;
  readonly port: number;
  /** The server name to send (SNI); a host that is not an address by default. */
  readonly serverName?: string | undefined;
  readonly signal: AbortSignal;
  /** The timeout in milliseconds. */
  readonly handshakeMs: number;
}

/**
 * The leaf certificate that a server presents. Does not verify the certificate, sends no data,
 * and closes the connection after the handshake.
 * @throws Error if no handshake succeeds in time
 */
export async function servedCertificate(handshake: Handshake): Promise<X509Certificate> {
  const { host, port, serverName, signal, handshakeMs } = handshake;
  // Loaded only here, because a command that only reads files takes 4 MB less without it.
  const { connect } = await import('node:tls');
  const { promise, resolve, reject } = Promise.withResolvers<X509Certificate>();
  const socket = connect({ ...unverified, host, port, ...sni(host, serverName) });
  const stop = AbortSignal.any([signal, AbortSignal.timeout(handshakeMs)]);
  const destroy = (): void => {
    socket.destroy(new Error(`no TLS handshake within ${handshakeMs / second} s`));
  };
  stop.addEventListener('abort', destroy, { once: true });
  try {
    socket.once('secureConnect', () => settle(socket, resolve, reject));
    // A server that requires a client certificate presents its own before it closes the connection.
    socket.once('error', (error) => settle(socket, resolve, () => reject(error)));
    socket.once('close', () => reject(new Error('the connection was closed')));
    return await promise;
  } finally {
    stop.removeEventListener('abort', destroy);
    socket.destroy();
  }
}

function settle(
  socket: TLSSocket,
  resolve: (certificate: X509Certificate) => void,
  reject: (error: Error) => void,
): void {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) reject(new Error('the server presented no certificate'));
  else resolve(certificate);
}

/** Without CAs, because loading them takes time and the check verifies nothing. */
const unverified: ConnectionOptions = { rejectUnauthorized: false, ca: [] };

/** A server with several certificates selects one by the server name, which cannot be an address (RFC 6066 3). */
function sni(host: string, serverName: string | undefined): ConnectionOptions {
  const name = serverName ?? (isIP(host) === 0 ? host : undefined);
  return name === undefined ? {} : { servername: name };
}
