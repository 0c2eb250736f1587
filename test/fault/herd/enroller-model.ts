import type { EnrollerLink } from '../../../src/keeper/enroller-link.ts';
import { deletionPause } from '../../../src/core/backoff.ts';
import type { PairFacts } from '../../../src/core/certificate.ts';
import type {
  AttemptId,
  CsrReference,
  EnrollerCommand,
  EnrollerReport,
  NodeAddress,
} from '../../../src/core/enroller-protocol.ts';
import type { Failure } from '../../../src/core/errors.ts';
import { second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { Csr } from './cluster.ts';
import { Following } from './following.ts';
import { isLost, registrationDelay } from './world.ts';
import type { KubeletProfile, Pair, World } from './world.ts';

export interface EnrollerModelOptions {
  readonly pairs: Map<KubeletProfile, PairFacts>;
  readonly factsOf: (profile: KubeletProfile, pair: Pair) => PairFacts;
  readonly report: (report: EnrollerReport) => void;
}

interface Job {
  attempt: AttemptId;
  readonly profile: KubeletProfile;
  running: boolean;
  csr?: Csr;
  following?: Following;
}

/**
 * The enroller as the API server sees it: src/enroll without keys, files and
 * sockets. One POST for each attempt, one key and one request until it is decided,
 * one GET for each look at the Node, and one question for the examination at the start.
 */
export class EnrollerModel implements EnrollerLink {
  readonly #world: World;
  readonly #options: EnrollerModelOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #made = new Map<KubeletProfile, readonly Csr[]>();
  #registeredAt: Instant;

  constructor(world: World, options: EnrollerModelOptions) {
    this.#world = world;
    this.#options = options;
    this.#registeredAt = options.pairs.has('kubelet-client') ? 0 : Infinity;
  }

  get pairs(): ReadonlyMap<KubeletProfile, PairFacts> {
    return this.#options.pairs;
  }

  send(command: EnrollerCommand): void {
    switch (command.type) {
      case 'inspect':
        return this.#soon(() => this.#inspect(command.name));
      case 'enroll':
        return this.#enroll(command.name as KubeletProfile, command.attempt);
      case 'abandon':
        return this.#abandon(command.name);
      case 'look-up-addresses':
        return this.#soon(() => this.#lookUp());
      case 'preflight':
        return this.#soon(() => this.#examine());
      case 'self-sign':
      case 'check-served':
      case 'roll-back':
        throw new Error(`no node of the simulation is told to ${command.type}`);
      default:
        return command satisfies never;
    }
  }

  /** A process has to start first. */
  #soon(work: () => void): void {
    this.#world.queue.after((0.15 + 0.1 * this.#world.random()) * second, work);
  }

  #inspect(name: string): void {
    const pair = this.pairs.get(name as KubeletProfile);
    this.#options.report({
      type: 'inspected',
      name,
      findings: [],
      ...(pair !== undefined && { pair }),
    });
  }

  #enroll(profile: KubeletProfile, attempt: AttemptId): void {
    const job = this.#jobs.get(profile) ?? { attempt, profile, running: false };
    this.#jobs.set(profile, job);
    job.attempt = attempt;
    if (job.running) return;
    job.running = true;
    this.#soon(() => {
      if (this.#jobs.get(profile) === job) this.#post(job);
    });
  }

  #post(job: Job): void {
    const { cluster, tally, queue } = this.#world;
    // What time is it? Nothing is asked for while this node's clock is the one that is wrong.
    if (this.#isEarly(job.profile)) cluster.request();
    if (!cluster.request()) return this.#failed(job, unreachable);
    const csr = cluster.create(job.profile);
    job.csr = csr;
    const undecided = (this.#made.get(job.profile) ?? []).filter(isUndecided);
    this.#made.set(job.profile, [...undecided, csr]);
    tally.outstanding = Math.max(tally.outstanding, undecided.length + 1);
    this.#progress(job, 'requested');
    // The watch follows the answer at once.
    queue.after(5, () => {
      if (this.#jobs.get(job.profile) !== job) return;
      job.following = new Following(this.#world, csr, () => this.#decided(job, csr));
    });
  }

  #decided(job: Job, csr: Csr): void {
    if (csr.state === 'deleted') {
      this.#jobs.delete(job.profile);
      const retryAfterMs = deletionPause(this.#world.queue.now() - csr.createdAt);
      return this.#failed(job, { code: 'CSR_DELETED', message: 'deleted', retryAfterMs });
    }
    this.#progress(job, 'approved');
    this.#progress(job, 'issued');
    this.#store(job);
  }

  #store(job: Job): void {
    const { cluster, queue, random, tally } = this.#world;
    const { profile, attempt } = job;
    const now = queue.now();
    const { pairs, factsOf, report } = this.#options;
    if (isLost(pairs.get(profile), now)) tally.lost += 1;
    tally.stored += 1;
    const serial = Math.floor(random() * 2 ** 52).toString(16);
    const pair = factsOf(profile, { ...cluster.validity(), storedAt: now, serial });
    pairs.set(profile, pair);
    this.#jobs.delete(profile);
    if (profile === 'kubelet-client') this.#useClientPair();
    report({ type: 'stored', name: profile, attempt, pair, findings: [] });
  }

  /** Connections move to the new identity; with the first one the kubelet can register. */
  #useClientPair(): void {
    for (const { following } of this.#jobs.values()) following?.reopen();
    if (this.#registeredAt === Infinity) {
      this.#registeredAt = this.#world.queue.now() + registrationDelay(this.#world.random);
    }
  }

  #abandon(name: string): void {
    const job = this.#jobs.get(name);
    job?.following?.stop();
    if (job?.csr !== undefined) this.#world.cluster.forget(job.csr);
    this.#jobs.delete(name);
  }

  #failed(job: Job, failure: Failure): void {
    job.running = false;
    const { profile: name, attempt } = job;
    // A POST that was sent may have arrived, so the key is kept.
    const resumable = this.#jobs.get(name) === job;
    this.#options.report({ type: 'failed', name, attempt, failure, resumable });
  }

  #progress({ profile: name, attempt, csr }: Job, type: 'requested' | 'approved' | 'issued'): void {
    if (csr === undefined) return;
    this.#options.report({ type, name, attempt, csr: referenceOf(csr) });
  }

  /** `checkNodeAtStart`: whether renewal is permitted, which only the node's own identity can ask. */
  #examine(): void {
    if (!this.#isEarly('kubelet-client')) this.#world.cluster.request();
  }

  #isEarly(profile: KubeletProfile): boolean {
    return (this.pairs.get(profile)?.notBefore ?? 0) > this.#world.queue.now();
  }

  /** `lookUpAddresses`: a GET, and a watch as well where the kubelet has yet to register the Node. */
  #lookUp(): void {
    const { cluster, queue } = this.#world;
    const { report } = this.#options;
    if (!cluster.request()) return report({ type: 'addresses-failed', failure: unreachable });
    const found = { type: 'addresses', addresses, final: true } as const;
    if (queue.now() >= this.#registeredAt) return report(found);
    report({ type: 'addresses', addresses: [], final: false });
    cluster.request();
    queue.at(this.#registeredAt, () => report(found));
  }
}

const addresses: readonly NodeAddress[] = [
  { type: 'Hostname', address: 'worker' },
  { type: 'InternalIP', address: '10.0.0.1' },
];

const unreachable: Failure = { code: 'API_UNREACHABLE', message: 'connection refused' };

function isUndecided({ state }: Csr): boolean {
  return state === 'pending' || state === 'approved';
}

function referenceOf({ createdAt }: Csr): CsrReference {
  return { name: `csr-${createdAt}`, uid: '', createdAt };
}
