import { createClusterCa } from '../support/cluster-pki.ts';
import { DiscoveryPlane, pinOf, servingOf } from '../support/discovery-plane.ts';
import { killAtEachCall } from './crash/command-series.ts';
import { discoveryFaults } from './discovery/faults.ts';
import type { ServingPairs } from './discovery/faults.ts';
import { killedDiscovery } from './discovery/killed-discovery.ts';
import type { DiscoveryBench } from './discovery/trial.ts';
import { tryDiscovery } from './discovery/trial.ts';
import type { FaultFamily } from './family.ts';

/**
 * Kills `discover` at each of its system calls on files, and puts a faulty server between `discover`
 * and the real API server. Files are complete and private or absent, and the token is sent only to a
 * server that a pinned CA verifies.
 */
export const discovery: FaultFamily = {
  name: 'discovery',
  needs: ['strace', 'control-plane'],
  async *run(options) {
    const { thorough, signal, progress } = options;
    await using cluster = await DiscoveryPlane.start();
    yield* killAtEachCall(await killedDiscovery(cluster), options);
    await using bench = await openBench(cluster);
    for (const fault of discoveryFaults(bench.pairs)) {
      if (!thorough && !quick.has(fault.name)) continue;
      signal.throwIfAborted();
      progress(fault.name);
      yield await tryDiscovery(bench, fault);
    }
  },
};

/** One of each kind. */
const quick: ReadonlySet<string> = new Set([
  'reset mid-body',
  '429 with Retry-After',
  '401',
  'redirect',
  'body of 200 MiB',
  'another user in the answer to the token',
  'certificate of a CA that is listed and not pinned',
  'signature of another token',
  'another cluster-info in the second response',
  'answers after 3 s',
]);

async function openBench(
  cluster: DiscoveryPlane,
): Promise<DiscoveryBench & AsyncDisposable & { readonly pairs: ServingPairs }> {
  const [pinned, listed, stranger] = await Promise.all([
    createClusterCa(),
    createClusterCa(),
    createClusterCa(),
  ]);
  const pairs = {
    pinned: await servingOf(pinned),
    listed: await servingOf(listed),
    stranger: await servingOf(stranger),
  };
  const proxy = await cluster.startProxy(pairs.pinned);
  const caPem = pinned.certificatePem + listed.certificatePem;
  await cluster.publish({ server: proxy.server, caPem });
  const endpoint = new URL(proxy.server).host;
  return {
    proxy,
    pairs,
    token: await cluster.createSignedToken(),
    args: ['--endpoint', endpoint, '--ca-cert-hash', pinOf(pinned.certificatePem)],
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}
