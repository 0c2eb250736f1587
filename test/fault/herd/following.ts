import { minute } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import { WatchPace } from '../../../src/core/timing.ts';
import type { Csr } from './cluster.ts';
import { cancel } from './event-queue.ts';
import type { Timer } from './event-queue.ts';
import type { World } from './world.ts';

/**
 * How the enroller waits for the decision about a request: the watch and the poll of
 * src/kube/follow.ts without their sockets, at the pace that the real code keeps. A
 * test holds the requests of both against each other.
 */
export class Following {
  readonly #world: World;
  readonly #csr: Csr;
  readonly #settle: (csr: Csr) => void;
  readonly #pace: WatchPace;
  #watchTimer: Timer | undefined;
  #pollTimer: Timer | undefined;
  #openedAt: Instant | undefined;
  /** The last look behind the watch, and whether a watch that is closed by now was heard of since. */
  #lookedAt: Instant;
  #heard = false;
  /** Nobody knows what was missed since: the object is read before it is watched. */
  #mustRead = false;
  #over = false;

  /** @param settle called once, when the request is issued or gone */
  constructor(world: World, csr: Csr, settle: (csr: Csr) => void) {
    this.#world = world;
    this.#csr = csr;
    this.#settle = settle;
    this.#pace = new WatchPace(world.queue.now(), world.random);
    this.#lookedAt = world.queue.now();
    this.#step();
    this.#poll();
  }

  /** The client got another identity: its watch begins again where it was. */
  reopen(): void {
    const began = this.#openedAt;
    if (began === undefined) return;
    this.#close();
    this.#next(began, { interrupted: false });
  }

  stop(): void {
    this.#over = true;
    this.#close();
    cancel(this.#watchTimer);
    cancel(this.#pollTimer);
  }

  #step(): void {
    const { queue, cluster } = this.#world;
    const began = queue.now();
    if (!cluster.request()) return this.#fail(began);
    if (this.#mustRead) {
      if (this.#look()) return;
      this.#mustRead = false;
      return this.#step();
    }
    this.#openedAt = began;
    this.#csr.watcher = () => void this.#look();
    cluster.openWatch(this.#broken);
    this.#watchTimer = queue.after(this.#pace.watchSeconds() * 1_000, () => {
      this.#close();
      this.#next(began, { interrupted: false });
    });
    // What happened between the answer and the watch is the first that it shows.
    this.#look();
  }

  readonly #broken = (): void => {
    const began = this.#openedAt ?? this.#world.queue.now();
    this.#close();
    this.#fail(began);
  };

  #fail(began: Instant): void {
    this.#mustRead = true;
    this.#next(began, { interrupted: true });
  }

  #next(began: Instant, { interrupted }: { readonly interrupted: boolean }): void {
    const { queue } = this.#world;
    const step = { began, now: queue.now(), progress: false, interrupted, retryAfterMs: 0 };
    this.#watchTimer = queue.after(this.#pace.delayAfter(step), () => this.#step());
  }

  #poll(): void {
    const { queue, cluster } = this.#world;
    this.#lookedAt = queue.now();
    this.#heard = false;
    this.#pollTimer = queue.after(this.#pace.pollDelay(queue.now()), () => {
      this.#listen();
      const silent = this.#openedAt !== undefined && !this.#heard;
      if (silent && cluster.request() && this.#look()) return;
      this.#poll();
    });
  }

  /** A server sends a bookmark about every minute. */
  #listen(): void {
    if (this.#openedAt === undefined) return;
    const open = this.#world.queue.now() - Math.max(this.#openedAt, this.#lookedAt);
    if (open >= minute) this.#heard = true;
  }

  /** True when there is nothing more to wait for. */
  #look(): boolean {
    if (this.#over) return true;
    if (this.#csr.state !== 'issued' && this.#csr.state !== 'deleted') return false;
    this.stop();
    this.#settle(this.#csr);
    return true;
  }

  #close(): void {
    this.#listen();
    this.#openedAt = undefined;
    this.#csr.watcher = undefined;
    this.#world.cluster.closeWatch(this.#broken);
    cancel(this.#watchTimer);
  }
}
