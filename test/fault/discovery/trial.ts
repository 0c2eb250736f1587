import assert from 'node:assert/strict';
import { second } from '../../../src/core/instant.ts';
import type { Ended } from '../../support/doctor.ts';
import type { FaultProxy, ProxyFault, SeenRequest } from '../../support/fault-proxy.ts';
import { haste, NewMachine } from '../../support/new-machine.ts';
import type { FaultRow } from '../family.ts';
import type { DiscoveryFault, Place } from './fault.ts';
import { isClusterInfo, placeOf } from './fault.ts';

/** Of the clock of the command, in seconds. Attempts come after 5 s, and after 10 s more. */
const timeout = 40;

export interface DiscoveryBench {
  readonly proxy: FaultProxy;
  readonly token: string;
  /** The arguments that name the proxy and the pinned CA. */
  readonly args: readonly string[];
}

/** Runs `discover` through a fault at each of its places. @throws Error that says what went wrong */
export async function tryDiscovery(
  bench: DiscoveryBench,
  fault: DiscoveryFault,
): Promise<FaultRow> {
  const places = fault.places ?? ['connection'];
  const outcomes: Outcome[] = [];
  for (const place of places) {
    try {
      outcomes.push(await tryAt(bench, fault, place));
    } catch (error) {
      throw new Error(`${fault.name}, at ${place}: ${String(error)}`, { cause: error });
    }
  }
  const most = Math.max(...outcomes.map(({ requests }) => requests));
  return {
    fault: `discover: ${fault.name}`,
    tried: outcomes.length,
    lost: 0,
    recovery: Math.max(...outcomes.map(({ recovery }) => recovery)),
    seen: [...new Set(outcomes.map(({ seen }) => seen)), `at most ${most} connections`],
  };
}

interface Outcome {
  readonly seen: string;
  /** Seconds of the run after the fault. */
  readonly recovery: number;
  readonly requests: number;
}

async function tryAt(
  bench: DiscoveryBench,
  fault: DiscoveryFault,
  place: Place | 'connection',
): Promise<Outcome> {
  const { proxy } = bench;
  const took = new TakenBytes();
  await begin(proxy, fault, { place, took });
  await using machine = await NewMachine.create(bench.token);
  const ended = await machine.discover(...bench.args, '--timeout', `${timeout}s`);
  const [requests, connections] = [[...proxy.seen], [...proxy.connections]];
  proxy.set(undefined);
  await fault.end?.(proxy);
  await requireEnd(machine, fault, ended);
  const isReached = place === 'review' || place === 'node' || fault.code === undefined;
  requireTokenOnlyAtLast(requests, isReached);
  const moments = requests.flatMap(({ met, at }) => (met ? [at] : []));
  requireFew(fault, { attempts: attemptsOf(ended), moments, connections });
  assert.ok(took.most < 16 * 2 ** 20, `it took ${took.most} bytes`);
  return {
    seen: codeOf(ended) ?? 'nothing',
    recovery: await recover(machine, bench),
    requests: connections.length,
  };
}

async function begin(
  proxy: FaultProxy,
  { serve, begin: start }: DiscoveryFault,
  { place, took }: { readonly place: Place | 'connection'; readonly took: TakenBytes },
): Promise<void> {
  // Requests of earlier trials do not count.
  proxy.seen.splice(0);
  proxy.connections.splice(0);
  await start?.(proxy);
  if (serve === undefined) return;
  const served: ProxyFault['serve'] = async (exchange) => {
    const { socket } = exchange.response;
    await serve(exchange);
    took.note(socket?.bytesWritten ?? 0);
  };
  proxy.set({ meets: (exchange) => placeOf(exchange, proxy) === place, serve: served });
}

/** How much of a response the command has read at most. */
class TakenBytes {
  most = 0;

  note(bytes: number): void {
    this.most = Math.max(this.most, bytes);
  }
}

async function requireEnd(
  machine: NewMachine,
  { code }: DiscoveryFault,
  ended: Ended,
): Promise<void> {
  assert.equal(codeOf(ended), code, ended.stderr);
  assert.equal(ended.code, code === undefined ? 0 : 1);
  if (code !== undefined) assert.deepEqual(await machine.files(), {}, 'something was written');
}

function codeOf({ stderr }: Ended): string | undefined {
  return /^nodecertd: .* \(([A-Z_]+)\)$/m.exec(stderr)?.[1];
}

/** Before the second response, nothing proves that the server belongs to the cluster. */
function requireTokenOnlyAtLast(requests: readonly SeenRequest[], isReached: boolean): void {
  for (const request of requests) {
    const expected = isClusterInfo(request) ? 'none' : 'token';
    assert.equal(request.credential, expected, request.path);
    assert.ok(isReached || expected === 'none', `${request.path} had the token`);
  }
}

/** The command announces each attempt but the first. */
function attemptsOf({ stderr }: Ended): number {
  return (stderr.match(/; next attempt in /g)?.length ?? 0) + 1;
}

interface Attempts {
  readonly attempts: number;
  /** When requests met the fault. */
  readonly moments: readonly number[];
  readonly connections: readonly number[];
}

function requireFew(
  { repeated, code, asked }: DiscoveryFault,
  { attempts, moments, connections }: Attempts,
): void {
  const most = code === undefined || repeated === undefined ? 1 : repeated === 'once' ? 2 : 5;
  assert.ok(attempts <= most, `${attempts} attempts`);
  if (repeated !== undefined) assert.ok(attempts >= 2, 'it did not try again');
  // Two readings, the token and the Node.
  assert.ok(connections.length <= 4 * most, `${connections.length} connections`);
  // After a response that makes no sense, the version of the server is read with the token, too.
  assert.ok(moments.length <= 2 * most || code === undefined, `${moments.length} requests`);
  if (asked === undefined) return;
  const [start = 0, next = Infinity] = moments;
  assert.ok((next - start) * haste >= asked * second, 'a request before the end of Retry-After');
}

/** Seconds of a run without the fault, on the machine that has met it. */
async function recover(machine: NewMachine, { args }: DiscoveryBench): Promise<number> {
  const start = performance.now();
  const ended = await machine.discover(...args);
  assert.equal(ended.code, 0, ended.stderr);
  assert.deepEqual(await machine.files(), { 'bootstrap-kubelet.conf': '0600' });
  return (performance.now() - start) / second;
}
