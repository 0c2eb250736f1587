import { minute } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import { WatchPace } from '../../../src/core/timing.ts';
import type { Csr } from './cluster.ts';
import { cancel } from './event-queue.ts';
import type { Timer } from './event-queue.ts';
import type { World } from './world.ts';

/**
 * Models how the enroller waits for a decision: the watch and the poll of
 * src/kube/follow.ts without sockets, with the delays of the real code. A test compares
 * the requests of both.
 */
export class Following {
  readonly #world: World;
  readonly #csr: Csr;
  readonly #settle: (csr: Csr) => void;
  readonly #pace: WatchPace;
  #watchTimer: Timer | undefined;
  #pollTimer: Timer | undefined;
  #openedAt: Instant | undefined;
  /** The last poll, and whether a closed watch has had an event since then. */
  #lookedAt: Instant;
  #heard = false;
  /** Changes may have been missed, so the object is read before the watch. */
  #mustRead = false;
  #over = false;

  /** @param settle called once, when the CSR is issued or deleted */
  constructor(world: World, csr: Csr, settle: (csr: Csr) => void) {
    this.#world = world;
    this.#csr = csr;
    this.#settle = settle;
    this.#pace = new WatchPace(world.queue.now(), world.random);
    this.#lookedAt = world.queue.now();
    this.#step();
    this.#poll();
  }

  /** The client has a new identity, and its watch continues at the same resourceVersion. */
  reopen(): void {
    const startedAt = this.#openedAt;
    if (startedAt === undefined) return;
    this.#close();
    this.#next(startedAt, { interrupted: false });
  }

  stop(): void {
    this.#over = true;
    this.#close();
    cancel(this.#watchTimer);
    cancel(this.#pollTimer);
  }

  #step(): void {
    const { queue, cluster } = this.#world;
    const startedAt = queue.now();
    if (!cluster.request()) return this.#fail(startedAt);
    if (this.#mustRead) {
      if (this.#look()) return;
      this.#mustRead = false;
      return this.#step();
    }
    this.#openedAt = startedAt;
    this.#csr.watcher = () => void this.#look();
    cluster.openWatch(this.#broken);
    this.#watchTimer = queue.after(this.#pace.watchSeconds() * 1_000, () => {
      this.#close();
      this.#next(startedAt, { interrupted: false });
    });
    // The watch begins with the changes since the response.
    this.#look();
  }

  readonly #broken = (): void => {
    const startedAt = this.#openedAt ?? this.#world.queue.now();
    this.#close();
    this.#fail(startedAt);
  };

  #fail(startedAt: Instant): void {
    this.#mustRead = true;
    this.#next(startedAt, { interrupted: true });
  }

  #next(startedAt: Instant, { interrupted }: { readonly interrupted: boolean }): void {
    const { queue } = this.#world;
    const step = { startedAt, now: queue.now(), progress: false, interrupted, retryAfterMs: 0 };
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

  /** A server sends a bookmark about once a minute. */
  #listen(): void {
    if (this.#openedAt === undefined) return;
    const open = this.#world.queue.now() - Math.max(this.#openedAt, this.#lookedAt);
    if (open >= minute) this.#heard = true;
  }

  /** Whether the wait is over. */
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
