import type { Profile } from '../../../src/core/certificate-spec.ts';
import { day, hour, minute, second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { EventQueue } from './event-queue.ts';
import type { Span } from './traffic.ts';
import { Traffic } from './traffic.ts';

/** The faults of the cluster, with their times. */
export interface ClusterPlan {
  readonly span: Span;
  /** The lifetime of certificates. */
  readonly lifetime: number;
  /** The end of the signing CA at a given time. */
  readonly authorityEnd?: (now: Instant) => Instant;
  /** The API server is down: connections are refused. */
  readonly away?: Span;
  /** The times at which the API server restarts at once, which ends every watch. */
  readonly restarts?: readonly Instant[];
  /** When the signer changes to another CA. The agents of the nodes keep their trust then. */
  readonly signerSwitch?: Instant;
  readonly noApprover?: Absence;
  readonly noSigner?: Absence;
}

/** A controller that is down for some time, for some certificates. */
export interface Absence extends Span {
  readonly profiles: readonly Profile[];
  /** The CSRs per second that it processes when it is back. */
  readonly backlogRate: number;
}

export type CsrState = 'pending' | 'approved' | 'issued' | 'deleted';

/** A CSR in etcd, which stays there even if its requestor no longer waits. */
export interface Csr {
  readonly profile: Profile;
  readonly createdAt: Instant;
  state: CsrState;
  /** The time of its last change of state, from which the cleaner counts. */
  changedAt: Instant;
  /** Called for each change while a watch is open. */
  watcher: ((csr: Csr) => void) | undefined;
}

/**
 * The parts of a cluster for certificates: an API server of unlimited capacity, which
 * shows every peak, the approver, the signer, and the cleaner with upstream's times.
 * Only the agents' requests are counted.
 */
export class Cluster {
  readonly traffic: Traffic;
  /** The number of CSRs, and the maximum in etcd at a time. */
  created = 0;
  mostStanding = 0;
  readonly #plan: ClusterPlan;
  readonly #queue: EventQueue;
  readonly #random: () => number;
  readonly #standing = new Set<Csr>();
  /** Functions that break the open watches. */
  readonly #watches = new Set<() => void>();
  readonly #backlogs = new Map<Absence, Map<Csr, () => void>>();
  /** The number of abandoned CSRs by the time at which the cleaner deletes them. */
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

  /** The number of CSRs in etcd. */
  get standing(): number {
    return this.#standing.size + this.#forgottenCount;
  }

  get lifetime(): number {
    return this.#plan.lifetime;
  }

  /** Counts a request. Returns false if the API server is down. */
  request(): boolean {
    const { away } = this.#plan;
    const now = this.#queue.now();
    if (away !== undefined && now >= away.from && now < away.to) return false;
    this.traffic.count(now);
    return true;
  }

  /** Whether a certificate that was stored at a time was issued by another CA than the signer used at `seenAt`. */
  isBehind(storedAt: Instant, seenAt: Instant): boolean {
    const { signerSwitch = Infinity } = this.#plan;
    return seenAt >= signerSwitch && storedAt < signerSwitch;
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

  /**
   * The requestor no longer waits for the CSR. It stays in etcd, but only as a number,
   * to save memory.
   */
  forget(csr: Csr): void {
    if (!this.#standing.delete(csr)) return;
    for (const backlog of this.#backlogs.values()) backlog.delete(csr);
    const left = csr.state === 'issued' ? hour : day;
    const due = Math.ceil((csr.changedAt + left) / minute) * minute;
    this.#forgotten.set(due, (this.#forgotten.get(due) ?? 0) + 1);
    this.#forgottenCount += 1;
  }

  /** Calls `broken` when the connection is lost. */
  openWatch(broken: () => void): void {
    this.#watches.add(broken);
  }

  closeWatch(broken: () => void): void {
    this.#watches.delete(broken);
  }

  /** Signs a certificate now, backdated by five minutes as in Kubernetes. */
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

  /** Schedules work of a controller: soon, or in its turn after the controller is back. */
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

  /** pkg/controller/certificates/cleaner deletes all old CSRs once an hour. */
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

/** X.509 has whole seconds. */
function seconds(instant: Instant): Instant {
  return Math.floor(instant / second) * second;
}
