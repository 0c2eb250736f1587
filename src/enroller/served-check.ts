import { describeError } from '../core/errors.ts';
import type { Endpoint, ServedSpec } from '../core/hooks.ts';
import { second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import type { EndpointState, ServedOutcome } from '../core/served.ts';
import type { LoadedPair } from '../store/pair-file.ts';
import type { Clock } from '../sys/clock.ts';
import { servedCertificate } from '../sys/served-certificate.ts';

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
    const { serverName } = served;
    const found = await servedCertificate({ ...endpoint, serverName, signal, handshakeMs });
    if (Buffer.compare(found.raw, leaf) === 0) return { endpoint: name, state: 'current' };
    const serial = found.serialNumber.toLowerCase().replace(/^0+(?=.)/, '');
    return { endpoint: name, state: 'other', serial, notAfter: found.validToDate.getTime() };
  } catch (error) {
    return { endpoint: name, state: 'unreachable', reason: printable(describeError(error), 200) };
  }
}
