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
  /** Of the pair that is asked about. */
  readonly serial: string;
  /** How long the servers may take; one look in any case. */
  readonly withinMs: number;
  /** What readers of the disk find now. */
  readonly pair: () => Promise<Pick<LoadedPair, 'facts' | 'leaf'> | undefined>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** How long one handshake may take, in milliseconds. */
  readonly answerMs?: number;
}

/**
 * Compares what is served with what is on the disk, byte for byte, until it is the same
 * everywhere or the time is over. An endpoint that has shown the right certificate once
 * is not dialled again.
 * @throws AgentError when the pair cannot be read, ABORTED
 */
export async function checkServed(options: ServedCheckOptions): Promise<ServedOutcome> {
  const { served, clock, signal, serial, withinMs } = options;
  const end = clock.elapsed() + withinMs;
  const states = new Map<string, EndpointState>();
  for (let pause = firstPause; ; pause = Math.min(2 * pause, longestPause)) {
    const pair = await options.pair();
    if (pair?.facts.serial !== serial) return { kind: 'overtaken' };
    const open = served.endpoints.filter(({ name }) => states.get(name)?.state !== 'current');
    const looks = open.map((endpoint) => lookAt(endpoint, pair.leaf, options));
    for (const state of await Promise.all(looks)) states.set(state.endpoint, state);
    const left = end - clock.elapsed();
    const isCurrent = [...states.values()].every(({ state }) => state === 'current');
    if (isCurrent || left <= 0) return { kind: 'checked', endpoints: [...states.values()] };
    await clock.sleep(Math.min(pause, left), signal);
  }
}

const firstPause = second / 4;
const longestPause = 2 * second;

async function lookAt(
  endpoint: Endpoint,
  leaf: Uint8Array,
  { served, signal, answerMs = 5 * second }: ServedCheckOptions,
): Promise<EndpointState> {
  const { name } = endpoint;
  try {
    const options = { ...dialling, ...endpoint, ...sni(endpoint.host, served.serverName) };
    const shown = await servedLeaf(options, { signal, answerMs });
    if (Buffer.compare(shown.raw, leaf) === 0) return { endpoint: name, state: 'current' };
    const serial = shown.serialNumber.toLowerCase().replace(/^0+(?=.)/, '');
    return { endpoint: name, state: 'other', serial, notAfter: shown.validToDate.getTime() };
  } catch (error) {
    return { endpoint: name, state: 'unreachable', reason: printable(describeError(error), 200) };
  }
}

/**
 * The leaf that a server shows. It is looked at and not believed: nothing is verified,
 * nothing is sent, and the connection ends with the handshake.
 */
async function servedLeaf(
  options: ConnectionOptions,
  { signal, answerMs }: { readonly signal: AbortSignal; readonly answerMs: number },
): Promise<X509Certificate> {
  const { promise, resolve, reject } = Promise.withResolvers<X509Certificate>();
  const socket = connect(options);
  const tooLate = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
  const giveUp = (): void => {
    socket.destroy(new Error(`no answer within ${answerMs / second} s`));
  };
  tooLate.addEventListener('abort', giveUp, { once: true });
  try {
    socket.once('secureConnect', () => settle(socket, resolve, reject));
    // A server that demands a client certificate has shown its own before it hangs up.
    socket.once('error', (error) => settle(socket, resolve, () => reject(error)));
    socket.once('close', () => reject(new Error('the connection was closed')));
    return await promise;
  } finally {
    tooLate.removeEventListener('abort', giveUp);
    socket.destroy();
  }
}

function settle(
  socket: TLSSocket,
  resolve: (certificate: X509Certificate) => void,
  reject: (error: Error) => void,
): void {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) reject(new Error('it shows none'));
  else resolve(certificate);
}

/** Without authorities: nobody is to be trusted, and loading them takes time. */
const dialling: ConnectionOptions = { rejectUnauthorized: false, ca: [] };

/** A server with several certificates chooses by the name that is asked for, which cannot be an address. */
function sni(host: string, serverName: string | undefined): ConnectionOptions {
  const name = serverName ?? (isIP(host) === 0 ? host : undefined);
  return name === undefined ? {} : { servername: name };
}
