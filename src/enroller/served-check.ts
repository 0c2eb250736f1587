import type { X509Certificate } from 'node:crypto';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { connect } from 'node:tls';
import { isIP } from 'node:net';
import { describeError } from '../core/errors.ts';
import type { Endpoint, ServedSpec } from '../core/hooks.ts';
import { second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import type { EndpointState, ServedOutcome } from '../core/served.ts';
import type { LoadedPair } from '../store/pair-file.ts';
import type { Clock } from '../sys/clock.ts';

export interface ServedCheckOptions {
  readonly served: Pick<ServedSpec, 'endpoints' | 'serverName'>;
  /** The serial of the certificate to expect. */
  readonly serial: string;
  /** The grace period for the servers to reload, in milliseconds. 0 means one check. */
  readonly withinMs: number;
  /** Reads the pair that is on disk now. */
  readonly pair: () => Promise<Pick<LoadedPair, 'facts' | 'leaf'> | undefined>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The timeout of one handshake in milliseconds. */
  readonly handshakeMs?: number;
}

/**
 * Compares the served certificates with the certificate on disk, byte for byte, until all are
 * equal or the grace period ends. Does not check an endpoint again after it was current.
 * @throws AgentError when the pair cannot be read, ABORTED
 */
export async function checkServed(options: ServedCheckOptions): Promise<ServedOutcome> {
  const { served, clock, signal, serial, withinMs } = options;
  const end = clock.elapsed() + withinMs;
  const states = new Map<string, EndpointState>();
  for (let pause = firstPause; ; pause = Math.min(2 * pause, longestPause)) {
    const pair = await options.pair();
    if (pair?.facts.serial !== serial) return { kind: 'replaced' };
    const pending = served.endpoints.filter(({ name }) => states.get(name)?.state !== 'current');
    const checks = pending.map((endpoint) => checkEndpoint(endpoint, pair.leaf, options));
    for (const state of await Promise.all(checks)) states.set(state.endpoint, state);
    const left = end - clock.elapsed();
    const isCurrent = [...states.values()].every(({ state }) => state === 'current');
    if (isCurrent || left <= 0) return { kind: 'checked', endpoints: [...states.values()] };
    await clock.sleep(Math.min(pause, left), signal);
  }
}

const firstPause = second / 4;
const longestPause = 2 * second;

async function checkEndpoint(
  endpoint: Endpoint,
  leaf: Uint8Array,
  { served, signal, handshakeMs = 5 * second }: ServedCheckOptions,
): Promise<EndpointState> {
  const { name } = endpoint;
  try {
    const options = { ...unverified, ...endpoint, ...sni(endpoint.host, served.serverName) };
    const found = await servedLeaf(options, { signal, handshakeMs });
    if (Buffer.compare(found.raw, leaf) === 0) return { endpoint: name, state: 'current' };
    const serial = found.serialNumber.toLowerCase().replace(/^0+(?=.)/, '');
    return { endpoint: name, state: 'other', serial, notAfter: found.validToDate.getTime() };
  } catch (error) {
    return { endpoint: name, state: 'unreachable', reason: printable(describeError(error), 200) };
  }
}

/**
 * The leaf certificate that a server presents. The check does not verify the certificate, sends
 * no data, and closes the connection after the handshake.
 */
async function servedLeaf(
  options: ConnectionOptions,
  { signal, handshakeMs }: { readonly signal: AbortSignal; readonly handshakeMs: number },
): Promise<X509Certificate> {
  const { promise, resolve, reject } = Promise.withResolvers<X509Certificate>();
  const socket = connect(options);
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
