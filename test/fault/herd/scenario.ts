import { second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import { rotationDeadline, rotationFraction } from '../../../src/core/schedule.ts';
import { AgentNode } from './agent-node.ts';
import type { ClusterPlan } from './cluster.ts';
import { Cluster } from './cluster.ts';
import { EventQueue } from './event-queue.ts';
import { KubeletNode } from './kubelet-node.ts';
import { randomFrom } from './random.ts';
import type { Load, Span } from './traffic.ts';
import type { HerdNode, KubeletProfile, Pair, Tally, World } from './world.ts';

export interface Scenario {
  readonly name: string;
  readonly plan: ClusterPlan;
  /** The time over which the nodes or their agents start. */
  readonly startWithin: number;
  /** Whether the nodes have pairs already, as in an old cluster. */
  readonly running?: {
    readonly remaining?: (random: () => number) => number;
    /** The clocks were ahead by this time when the pairs were stored, and have been set back. */
    readonly ahead?: number;
  };
  /**
   * Whether to simulate each read of the Node's addresses. With rare rotations they are
   * added as an even stream instead, as the other scenarios show.
   */
  readonly lookUps: 'played' | 'added';
  /** The fault itself makes certificates expire. */
  readonly fatal?: boolean;
  /** The load rises and falls once with the schedule. It is limited, but not even. */
  readonly ramp?: boolean;
  /** The period in which the load must be even; the whole run when absent. */
  readonly judged?: Span;
}

export interface Outcome {
  readonly load: Load;
  readonly judged: Load;
  readonly lost: number;
  readonly stored: number;
  readonly outstanding: number;
  readonly created: number;
  readonly mostStanding: number;
  readonly standing: number;
}

/** The default of `addressRefresh`. */
const refreshSeconds = 1_800;
const never = 1e9;

export type Manager = 'nodecertd' | 'client-go';

/** Simulates a scenario for this number of nodes. The same seed gives the same requests. */
export function play(scenario: Scenario, nodes: number, manager: Manager): Outcome {
  const { plan, judged } = scenario;
  const { span } = plan;
  const queue = new EventQueue(span.from);
  const random = randomFrom(20_261);
  const cluster = new Cluster(plan, queue, random);
  const tally: Tally = { lost: 0, stored: 0, outstanding: 0 };
  const world: World = { queue, random, cluster, tally };
  const herd = Array.from({ length: nodes }, (_, index) => {
    const node = newNode(scenario, { world, manager, name: `worker-${index}` });
    queue.after(scenario.startWithin * random(), () => node.start());
    return node;
  });
  queue.runUntil(span.to);
  if (manager === 'nodecertd' && scenario.lookUps === 'added') {
    cluster.traffic.add(nodes / refreshSeconds, random);
  }
  return {
    load: cluster.traffic.load(),
    judged: cluster.traffic.load(judged),
    lost: tally.lost + expired(herd, span.to),
    stored: tally.stored,
    outstanding: tally.outstanding,
    created: cluster.created,
    mostStanding: cluster.mostStanding,
    standing: cluster.standing,
  };
}

function newNode(
  { plan, running, lookUps }: Scenario,
  { world, manager, name }: { world: World; manager: Manager; name: string },
): HerdNode {
  const { from } = plan.span;
  const profiles: readonly KubeletProfile[] = ['kubelet-client', 'kubelet-serving'];
  const draw = (profile: KubeletProfile): readonly [KubeletProfile, Pair] => {
    const pair =
      running?.remaining === undefined
        ? agedPair({ world, name, profile, from })
        : cappedPair(world, { from, remaining: running.remaining(world.random) });
    return [profile, shifted(pair, running?.ahead ?? 0)];
  };
  const pairs = running === undefined ? [] : profiles.map(draw);
  return manager === 'client-go'
    ? new KubeletNode(world, pairs)
    : new AgentNode({
        world,
        name,
        pairs,
        keepsTrust: plan.signerSwitch !== undefined,
        refreshSeconds: lookUps === 'played' ? refreshSeconds : never,
      });
}

/** A pair of a random age before its deadline. */
function agedPair({
  world,
  name,
  profile,
  from,
}: {
  readonly world: World;
  readonly name: string;
  readonly profile: KubeletProfile;
  readonly from: Instant;
}): Pair {
  const { cluster, random } = world;
  const serial = Math.floor(random() * 2 ** 52).toString(16);
  const fresh = { notBefore: from, notAfter: from + cluster.lifetime, storedAt: from, serial };
  const deadline = rotationDeadline(fresh, rotationFraction(name, profile, serial));
  const age = Math.floor(((deadline - from) * random()) / second) * second;
  return {
    notBefore: from - age,
    notAfter: from - age + cluster.lifetime,
    storedAt: from - age,
    serial,
  };
}

function shifted(pair: Pair, by: number): Pair {
  const { notBefore, notAfter, storedAt } = pair;
  return {
    ...pair,
    notBefore: notBefore + by,
    notAfter: notAfter + by,
    storedAt: storedAt + by,
  };
}

/** A pair that ends with its CA, `remaining` after it was stored. */
function cappedPair(
  { cluster, random }: World,
  { from, remaining }: { readonly from: Instant; readonly remaining: number },
): Pair {
  const { notAfter } = cluster.validity();
  const storedAt = Math.min(notAfter - remaining, from);
  const serial = Math.floor(random() * 2 ** 52).toString(16);
  return { notBefore: storedAt, notAfter, storedAt, serial };
}

function expired(herd: readonly HerdNode[], now: Instant): number {
  let count = 0;
  for (const { pairs } of herd) {
    for (const { notAfter } of pairs.values()) if (now >= notAfter) count += 1;
  }
  return count;
}
