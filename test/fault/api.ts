import { join } from 'node:path';
import { day, second } from '../../src/core/instant.ts';
import { ApiClient } from '../support/api-client.ts';
import { startRealControlPlane } from '../support/real-control-plane.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import type { ApiFault } from './api/fault.ts';
import { apiFaults } from './api/faults.ts';
import { Issuer } from './api/issuer.ts';
import { keyPairOf } from './api/proxied-node.ts';
import type { ApiBench, ApiTrial } from './api/stage.ts';
import type { ApiOutcome } from './api/trial.ts';
import { describe, tryFault } from './api/trial.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';

/** Most of the time, a trial waits for the agent's next attempt. */
const together = 8;

/**
 * Faults of networks, load balancers, API servers and signers. A proxy between the
 * agent and an API server causes them. The API server is the sandbox, or a real one in
 * the long form.
 */
export const api: FaultFamily = {
  name: 'api',
  needs: ['libfaketime', 'control-plane'],
  async *run(options) {
    await using bench = await openBench(options);
    const faults = options.thorough ? apiFaults : apiFaults.filter(({ name }) => quick.has(name));
    const trials = faults.flatMap((fault) => trialsOf(fault, options));
    const { outcomes, failures } = await runAll(bench, trials, options);
    for (const fault of faults) {
      const own = trials.filter((trial) => trial.fault === fault);
      const kept = own.flatMap((trial) => outcomes.get(trial) ?? []);
      if (kept.length === own.length) yield rowOf(fault, kept);
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('\n\n'));
  },
};

/** One of each kind. */
const quick: ReadonlySet<string> = new Set([
  'connection refused',
  'reset mid-body',
  'body of 200 MiB',
  '429 with Retry-After in seconds',
  '500',
  '410 as an event of a watch',
  'CSR deleted, and its name used and issued for another requestor',
  'wrong certificate: other key',
]);

async function openBench({ thorough }: FaultOptions): Promise<ApiBench & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const signing = { signingSeconds: (10 * day) / second };
  const controlPlane = stack.use(
    await (thorough ? startRealControlPlane(signing) : startSandboxControlPlane(signing)),
  );
  const adminPair = keyPairOf(await controlPlane.adminKubeconfig());
  const { server, caPem } = controlPlane;
  const admin = stack.use(new ApiClient({ server, caPem, ...adminPair }));
  const held = stack.move();
  return {
    controlPlane,
    admin,
    adminPair,
    issuer: await Issuer.create(),
    start: thorough ? { command: join(import.meta.dirname, '../../dist/nodecertd') } : {},
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Every combination, or in the short form one for each fault. */
function trialsOf(fault: ApiFault, { thorough }: FaultOptions): ApiTrial[] {
  const { places, situations = ['bootstrap', 'rotation'] } = fault;
  const all = situations.flatMap((situation) => places.map((place) => ({ situation, place })));
  const number = apiFaults.indexOf(fault);
  const chosen = thorough ? all : all.slice(-1 - (number % all.length)).slice(0, 1);
  return chosen.map((how, index) => ({ ...how, fault, name: `api-${number}-${index}` }));
}

async function runAll(
  bench: ApiBench,
  trials: readonly ApiTrial[],
  { signal, progress }: FaultOptions,
): Promise<{
  readonly outcomes: ReadonlyMap<ApiTrial, ApiOutcome>;
  readonly failures: readonly unknown[];
}> {
  const outcomes = new Map<ApiTrial, ApiOutcome>();
  const failures: unknown[] = [];
  // The longest trials first, so that they do not run alone at the end.
  const queue = [...trials].sort((a, b) => slowness(b) - slowness(a));
  const work = async (): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      signal.throwIfAborted();
      progress(describe(trial));
      try {
        outcomes.set(trial, await tryFault(bench, trial));
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  return { outcomes, failures };
}

function slowness({ fault }: ApiTrial): number {
  return fault.slow === true ? 1 : 0;
}

function rowOf({ name }: ApiFault, outcomes: readonly ApiOutcome[]): FaultRow {
  const busiest = Math.max(...outcomes.map((outcome) => outcome.busiest));
  const memory = Math.max(...outcomes.map((outcome) => outcome.memory ?? 0)) / 1024 / 1024;
  return {
    fault: name,
    tried: outcomes.length,
    lost: 0,
    recovery: Math.max(...outcomes.map(({ recovery }) => recovery)),
    seen: [
      ...new Set(outcomes.flatMap(({ seen }) => seen)),
      `at most ${busiest} requests a minute`,
      ...(memory > 0 ? [`enroller at most ${memory.toFixed(0)} MiB`] : []),
    ],
  };
}
