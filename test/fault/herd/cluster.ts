import type { Profile } from '../../../src/core/certificate-spec.ts';
import { day, hour, minute, second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { EventQueue } from './event-queue.ts';
import type { Span } from './traffic.ts';
import { Traffic } from './traffic.ts';

/** What goes wrong in the cluster, and when. */
export interface ClusterPlan {
  readonly span: Span;
  /** Of a certificate, as the signer is configured. */
  readonly lifetime: number;
  /** When the CA ends with which a certificate is signed now. */
  readonly authorityEnd?: (now: Instant) => Instant;
  /** The API server is away: connections are refused. */
  readonly away?: Span;
  /** Moments at which every watch is ended, by a server that comes back at once. */
  readonly restarts?: readonly Instant[];
  readonly noApprover?: Absence;
  readonly noSigner?: Absence;
}

/** A controller that is missing for a while, for some of the certificates. */
export interface Absence extends Span {
  readonly profiles: readonly Profile[];
  /** Requests per second that it takes up when it is back. */
  readonly backlogRate: number;
}

export type CsrState = 'pending' | 'approved' | 'issued' | 'deleted';

/** A request in etcd. Nobody has to look at it any more for it to stay there. */
export interface Csr {
  readonly profile: Profile;
  readonly createdAt: Instant;
  state: CsrState;
  /** When it came into this state: from then on the cleaner counts. */
  changedAt: Instant;
  /** Told of each change for as long as a watch is open. */
  watcher: ((csr: Csr) => void) | undefined;
}

/**
 * As much of a cluster as its nodes' certificates have to do with: an API server of
 * unlimited power, which therefore shows every peak, the approver, the signer, and
 * the cleaner with upstream's times. Only the agents' requests are counted.
 */
export class Cluster {
  readonly traffic: Traffic;
  /** Requests that were ever made, and the most that were in etcd at a time. */
  created = 0;
  mostStanding = 0;
  readonly #plan: ClusterPlan;
  readonly #queue: EventQueue;
  readonly #random: () => number;
  readonly #standing = new Set<Csr>();
  /** Of clients with an open watch: what breaks it. */
  readonly #watches = new Set<() => void>();
  readonly #backlogs = new Map<Absence, Map<Csr, () => void>>();
  /** Requests whose makers have forgotten them: how many the cleaner deletes, by when. */
  readonly #forgotten = new Map<Instant, number>();
  #forgottenCount = 0;

  constructor(plan: ClusterPlan, queue: EventQueue, random: () => number) {
    this.#plan = plan;
    this.#queue = queue;
    this.#random = random;
    this.traffic = new Traffic(plan.span);
    if (plan.away !== undefined) queue.at(plan.away.from, () => this.#breakWatches());
    for (const at of plan.restarts ?? []) queue.at(at, () => this.#breakWatches());
    queue.after(hour, () => this.#clean());
  }

  /** How many requests are in etcd. */
  get standing(): number {
    return this.#standing.size + this.#forgottenCount;
  }

  get lifetime(): number {
    return this.#plan.lifetime;
  }

  /** Counts a request; false when nobody is there to answer it. */
  request(): boolean {
    const { away } = this.#plan;
    const now = this.#queue.now();
    if (away !== undefined && now >= away.from && now < away.to) return false;
    this.traffic.count(now);
    return true;
  }

  create(profile: Profile): Csr {
    const now = this.#queue.now();
    const csr: Csr = {
      profile,
      createdAt: now,
      state: 'pending',
      changedAt: now,
      watcher: undefined,
    };
    this.created += 1;
    this.#standing.add(csr);
    this.mostStanding = Math.max(this.mostStanding, this.standing);
    this.#later(csr, this.#plan.noApprover, () => {
      if (csr.state === 'pending') this.#approve(csr);
    });
    return csr;
  }

  /** Its maker asks no more for it. It stays where it is, but millions of them need not be told apart. */
  forget(csr: Csr): void {
    if (!this.#standing.delete(csr)) return;
    for (const backlog of this.#backlogs.values()) backlog.delete(csr);
    const left = csr.state === 'issued' ? hour : day;
    const due = Math.ceil((csr.changedAt + left) / minute) * minute;
    this.#forgotten.set(due, (this.#forgotten.get(due) ?? 0) + 1);
    this.#forgottenCount += 1;
  }

  /** Has `broken` called when the connection is lost. */
  openWatch(broken: () => void): void {
    this.#watches.add(broken);
  }

  closeWatch(broken: () => void): void {
    this.#watches.delete(broken);
  }

  /** A certificate signed now; the signers of Kubernetes backdate by five minutes. */
  validity(): { readonly notBefore: Instant; readonly notAfter: Instant } {
    const now = this.#queue.now();
    const { authorityEnd, lifetime } = this.#plan;
    const end = Math.min(now + lifetime, authorityEnd?.(now) ?? Infinity);
    return { notBefore: seconds(now - 5 * minute), notAfter: seconds(end) };
  }

  #approve(csr: Csr): void {
    this.#change(csr, 'approved');
    this.#later(csr, this.#plan.noSigner, () => {
      if (csr.state === 'approved') this.#change(csr, 'issued');
    });
  }

  /** Work of a controller: soon, or in its turn once the controller is back. */
  #later(csr: Csr, absence: Absence | undefined, work: () => void): void {
    const now = this.#queue.now();
    const soon = now + second * (0.1 + 0.9 * this.#random());
    const absent =
      absence !== undefined &&
      absence.profiles.includes(csr.profile) &&
      now >= absence.from &&
      now < absence.to;
    if (!absent) return void this.#queue.at(soon, work);
    const backlog = this.#backlogs.get(absence) ?? this.#newBacklog(absence);
    backlog.set(csr, work);
  }

  #newBacklog(absence: Absence): Map<Csr, () => void> {
    const backlog = new Map<Csr, () => void>();
    this.#backlogs.set(absence, backlog);
    this.#queue.at(absence.to, () => {
      let turn = 0;
      for (const work of backlog.values()) {
        this.#queue.after((turn / absence.backlogRate) * second, work);
        turn += 1;
      }
      backlog.clear();
    });
    return backlog;
  }

  #change(csr: Csr, state: CsrState): void {
    csr.state = state;
    csr.changedAt = this.#queue.now();
    csr.watcher?.(csr);
  }

  #breakWatches(): void {
    const broken = [...this.#watches];
    this.#watches.clear();
    for (const tell of broken) tell();
  }

  /** pkg/controller/certificates/cleaner: once an hour, everything that is past its time. */
  #clean(): void {
    const now = this.#queue.now();
    for (const csr of this.#standing) {
      if (now - csr.changedAt < (csr.state === 'issued' ? hour : day)) continue;
      this.#standing.delete(csr);
      this.#change(csr, 'deleted');
    }
    for (const [due, count] of this.#forgotten) {
      if (due > now) continue;
      this.#forgotten.delete(due);
      this.#forgottenCount -= count;
    }
    this.#queue.after(hour, () => this.#clean());
  }
}

/** X.509 knows whole seconds. */
function seconds(instant: Instant): Instant {
  return Math.floor(instant / second) * second;
}
