import type { EnrollerLink, Lost } from '../../../src/keeper/enroller-link.ts';
import { deletedCsrDelay } from '../../../src/core/timing.ts';
import type { PairFacts } from '../../../src/core/certificate.ts';
import type {
  AddressReply,
  CsrReference,
  EnrollerReplies,
  EnrollerReply,
  EnrollerRequest,
  EnrollmentReply,
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
  /** A reply has taken effect. */
  readonly onChange: () => void;
}

interface Job {
  reply: (reply: EnrollmentReply) => void;
  readonly profile: KubeletProfile;
  running: boolean;
  csr?: Csr;
  following?: Following;
}

/**
 * The requests of the enroller: src/enroller without keys, files and sockets. It sends
 * one POST for each attempt, keeps one key and one CSR until the decision, sends one
 * GET for each read of the Node, and one access review for the preflight check.
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

  request<T extends EnrollerRequest['type']>(
    request: Extract<EnrollerRequest, { readonly type: T }>,
    onReply: (reply: EnrollerReplies[T] | Lost) => void,
  ): void {
    const reply = (answer: EnrollerReply): void => {
      (onReply as (reply: EnrollerReply) => void)(answer);
      this.#options.onChange();
    };
    this.#start(request, reply);
  }

  #start(request: EnrollerRequest, reply: (reply: EnrollerReply) => void): void {
    switch (request.type) {
      case 'inspect':
        return this.#soon(() => reply(this.#inspected(request.name)));
      case 'enroll':
        return this.#enroll(request.name as KubeletProfile, reply);
      case 'look-up-addresses':
        return this.#soon(() => this.#lookUp(reply));
      case 'preflight':
        return this.#soon(() => this.#runChecks());
      case 'self-sign':
      case 'check-served':
      case 'roll-back':
        throw new Error(`the simulation has no request ${request.type}`);
      default:
        return request satisfies never;
    }
  }

  abandon(name: string): void {
    const job = this.#jobs.get(name);
    job?.following?.stop();
    if (job?.csr !== undefined) this.#world.cluster.forget(job.csr);
    this.#jobs.delete(name);
  }

  /** The time to start a process. */
  #soon(work: () => void): void {
    this.#world.queue.after((0.15 + 0.1 * this.#world.random()) * second, work);
  }

  #inspected(name: string): EnrollerReplies['inspect'] {
    const pair = this.pairs.get(name as KubeletProfile);
    return { type: 'inspected', findings: [], ...(pair !== undefined && { pair }) };
  }

  #enroll(profile: KubeletProfile, reply: (reply: EnrollmentReply) => void): void {
    const job = this.#jobs.get(profile) ?? { reply, profile, running: false };
    this.#jobs.set(profile, job);
    job.reply = reply;
    if (job.running) return;
    job.running = true;
    this.#soon(() => {
      if (this.#jobs.get(profile) === job) this.#post(job);
    });
  }

  #post(job: Job): void {
    const { cluster, tally, queue } = this.#world;
    // Reads the time of the API server. The enroller creates no CSR while its own clock
    // is wrong.
    if (this.#isEarly(job.profile)) cluster.request();
    if (!cluster.request()) return this.#failed(job, unreachable);
    const csr = cluster.create(job.profile);
    job.csr = csr;
    const outstanding = (this.#made.get(job.profile) ?? []).filter(isOutstanding);
    this.#made.set(job.profile, [...outstanding, csr]);
    tally.outstanding = Math.max(tally.outstanding, outstanding.length + 1);
    this.#progress(job, 'requested');
    // The watch starts right after the response.
    queue.after(5, () => {
      if (this.#jobs.get(job.profile) !== job) return;
      job.following = new Following(this.#world, csr, () => this.#decided(job, csr));
    });
  }

  #decided(job: Job, csr: Csr): void {
    if (csr.state === 'deleted') {
      this.#jobs.delete(job.profile);
      const retryAfterMs = deletedCsrDelay(this.#world.queue.now() - csr.createdAt);
      return this.#failed(job, { code: 'CSR_DELETED', message: 'deleted', retryAfterMs });
    }
    this.#progress(job, 'approved');
    this.#progress(job, 'issued');
    this.#store(job);
  }

  #store(job: Job): void {
    const { cluster, queue, random, tally } = this.#world;
    const { profile } = job;
    const now = queue.now();
    const { pairs, factsOf } = this.#options;
    if (isLost(pairs.get(profile), now)) tally.lost += 1;
    tally.stored += 1;
    const serial = Math.floor(random() * 2 ** 52).toString(16);
    const pair = factsOf(profile, { ...cluster.validity(), storedAt: now, serial });
    pairs.set(profile, pair);
    this.#jobs.delete(profile);
    if (profile === 'kubelet-client') this.#useClientPair();
    job.reply({ type: 'stored', pair, findings: [] });
  }

  /** Connections change to the new identity. With the first one, the kubelet can register. */
  #useClientPair(): void {
    for (const { following } of this.#jobs.values()) following?.reopen();
    if (this.#registeredAt === Infinity) {
      this.#registeredAt = this.#world.queue.now() + registrationDelay(this.#world.random);
    }
  }

  #failed(job: Job, failure: Failure): void {
    job.running = false;
    // A POST without a response may have arrived, so the key is kept.
    const resumable = this.#jobs.get(job.profile) === job;
    job.reply({ type: 'failed', failure, resumable });
  }

  #progress({ reply, csr }: Job, type: 'requested' | 'approved' | 'issued'): void {
    if (csr !== undefined) reply({ type, csr: referenceOf(csr) });
  }

  /**
   * Like `checkNodeAtStart`: whether renewal is permitted, which only the node's own
   * identity can check.
   */
  #runChecks(): void {
    if (!this.#isEarly('kubelet-client')) this.#world.cluster.request();
  }

  #isEarly(profile: KubeletProfile): boolean {
    return (this.pairs.get(profile)?.notBefore ?? 0) > this.#world.queue.now();
  }

  /** Like `lookUpAddresses`: a GET, and a watch until the kubelet has registered the Node. */
  #lookUp(reply: (reply: AddressReply) => void): void {
    const { cluster, queue } = this.#world;
    if (!cluster.request()) return reply({ type: 'addresses-failed', failure: unreachable });
    const found = { type: 'addresses', addresses, final: true } as const;
    if (queue.now() >= this.#registeredAt) return reply(found);
    reply({ type: 'addresses', addresses: [], final: false });
    cluster.request();
    queue.at(this.#registeredAt, () => reply(found));
  }
}

const addresses: readonly NodeAddress[] = [
  { type: 'Hostname', address: 'worker' },
  { type: 'InternalIP', address: '10.0.0.1' },
];

const unreachable: Failure = { code: 'API_UNREACHABLE', message: 'connection refused' };

function isOutstanding({ state }: Csr): boolean {
  return state === 'pending' || state === 'approved';
}

function referenceOf({ createdAt }: Csr): CsrReference {
  return { name: `csr-${createdAt}`, uid: '', createdAt };
}
