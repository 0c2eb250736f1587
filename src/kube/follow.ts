import type * as v from 'valibot';
import type { Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import { aborted } from './deadline.ts';
import type { WatchStep } from '../core/timing.ts';
import { WatchPace } from '../core/timing.ts';
import type { KubeClient } from './rest-client.ts';
import { watch } from './watch.ts';

/** What every object of the API says about itself. */
export interface ApiObject {
  readonly uid: string;
  readonly resourceVersion: string;
}

export interface Target<T extends ApiObject> {
  /** Of the collection. */
  readonly path: string;
  readonly name: string;
  readonly schema: v.GenericSchema<unknown, T>;
  /** The last version seen; without it the object is read first. */
  readonly resourceVersion?: string;
}

export interface FollowOptions<T extends ApiObject, R> {
  readonly target: Target<T>;
  /** Called with each state seen, `undefined` for an absent object; a result ends the following. */
  readonly look: (object: T | undefined) => R | undefined;
  /** Called for each failure; following goes on all the same. */
  readonly onTrouble?: ((failure: Failure) => void) | undefined;
  /** Called at the first answer after failures. */
  readonly onCalm?: (() => void) | undefined;
  readonly signal: AbortSignal;
}

/** The machine's parts that following needs. */
export interface FollowEnvironment {
  /** Asked for each request, so that following survives a change of identity. */
  readonly client: () => Pick<KubeClient, 'access' | 'request' | 'stream'>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * Follows one object until `look` has seen enough: one watch, opened again
 * whenever it ends, and a slow poll behind it for a watch that went silent
 * (k/k #73030). Nothing but the signal makes it give up.
 * @throws AgentError ABORTED
 */
export async function follow<T extends ApiObject, R>(
  environment: FollowEnvironment,
  options: FollowOptions<T, R>,
): Promise<R> {
  const done = new AbortController();
  const signal = AbortSignal.any([options.signal, done.signal]);
  const following = new Following(environment, { ...options, signal });
  const loops = [following.watching(), following.polling()];
  try {
    return await Promise.race(loops);
  } finally {
    done.abort();
    await Promise.allSettled(loops);
  }
}

class Following<T extends ApiObject, R> {
  readonly #environment: FollowEnvironment;
  readonly #options: FollowOptions<T, R>;
  /** Where the next watch begins. Undefined after an error: nobody knows what was missed, so the object is read. */
  #version: string | undefined;
  /** The version of the object itself; bookmarks move only the other one on. */
  #seen: string | undefined;
  /** Ends the watch that is open. */
  #reopen = new AbortController();
  #watchOpen = false;
  /** Before this the server has no reason of its own to end the watch. */
  #watchEnd: Instant = 0;
  #troubled = false;
  /** Nothing was heard of a watch since the last look behind it. */
  #silent = true;
  readonly #pace: WatchPace;

  constructor(environment: FollowEnvironment, options: FollowOptions<T, R>) {
    this.#environment = environment;
    this.#options = options;
    this.#version = options.target.resourceVersion;
    this.#seen = this.#version;
    this.#pace = new WatchPace(environment.clock.now(), environment.random);
  }

  async watching(): Promise<R> {
    const { clock } = this.#environment;
    for (;;) {
      const began = clock.now();
      const version = this.#version;
      let trouble: Trouble = calm;
      try {
        const result = version === undefined ? await this.#read() : await this.#watch(version);
        if (result !== undefined) return result;
        // Read: the watch comes next, at once.
        if (version === undefined && this.#version !== undefined) continue;
        const early = version !== undefined && clock.now() < this.#watchEnd;
        trouble = { ...calm, interrupted: early && !this.#reopen.signal.aborted };
      } catch (error) {
        trouble = this.#report(error);
      }
      const progress = this.#version !== undefined && this.#version !== version;
      const delay = this.#pace.delayAfter({ began, now: clock.now(), progress, ...trouble });
      await clock.sleep(delay, this.#options.signal);
    }
  }

  async polling(): Promise<R> {
    const { clock } = this.#environment;
    for (;;) {
      this.#silent = true;
      await clock.sleep(this.#pace.pollDelay(clock.now()), this.#options.signal);
      // A watch that is heard of needs no second opinion, and without one reading is the other loop's turn.
      if (!this.#silent || !this.#watchOpen) continue;
      try {
        const result = await this.#read();
        if (result !== undefined) return result;
      } catch (error) {
        this.#report(error);
      }
    }
  }

  async #read(): Promise<R | undefined> {
    const { target, look, signal } = this.#options;
    try {
      const object = await this.#environment
        .client()
        .request(
          { verb: 'get', path: `${target.path}/${encodeURIComponent(target.name)}`, signal },
          target.schema,
        );
      this.#answered();
      this.#moveTo(object.resourceVersion);
      return look(object);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'API_NOT_FOUND') throw error;
      this.#answered();
      this.#distrustWatch();
      // An absent object has no version: this one stands for the objects as they are, and what becomes of them.
      this.#version ??= anyVersion;
      return look(undefined);
    }
  }

  /** A version that the open watch has not shown means that it is not to be relied on. */
  #moveTo(version: string): void {
    if (this.#seen === version && this.#version !== undefined) return;
    this.#distrustWatch();
    this.#version = version;
    this.#seen = version;
    this.#reopen.abort();
  }

  /** A look found what the open watch kept to itself: what stands in its way will do so again. */
  #distrustWatch(): void {
    if (!this.#watchOpen) return;
    const { target, onTrouble } = this.#options;
    this.#troubled = true;
    onTrouble?.({
      code: 'API_TIMEOUT',
      message: `the watch of ${target.path}/${target.name} did not tell of a change that a look behind it found`,
      remedy:
        'let what stands between this node and the API server (proxy, load balancer) pass answers on as they come',
    });
  }

  async #watch(resourceVersion: string): Promise<R | undefined> {
    const { target, look } = this.#options;
    const { clock } = this.#environment;
    this.#reopen = new AbortController();
    const { signal: reopen } = this.#reopen;
    const timeoutSeconds = this.#pace.watchSeconds();
    this.#watchEnd = clock.now() + timeoutSeconds * second - earliness;
    const events = watch(this.#environment.client(), {
      ...target,
      resourceVersion,
      timeoutSeconds,
      signal: AbortSignal.any([this.#options.signal, reopen]),
    });
    try {
      this.#watchOpen = true;
      for await (const event of events) {
        this.#silent = false;
        this.#answered();
        if (event.type === 'BOOKMARK') {
          this.#version = event.resourceVersion;
          continue;
        }
        this.#version = event.object.resourceVersion;
        this.#seen = this.#version;
        const result = look(event.type === 'DELETED' ? undefined : event.object);
        if (result !== undefined) return result;
      }
    } catch (error) {
      if (!reopen.aborted) throw error;
    } finally {
      this.#watchOpen = false;
    }
    return undefined;
  }

  #answered(): void {
    if (!this.#troubled) return;
    this.#troubled = false;
    this.#options.onCalm?.();
  }

  /** Makes the next step a reading one, and says what the failure means for its moment. */
  #report(error: unknown): Trouble {
    const { signal, onTrouble, target } = this.#options;
    if (signal.aborted) throw aborted(`following ${target.path}/${target.name}`, signal);
    const failure = toFailure(error);
    // The client was closed under us, for one with a new identity: nothing was missed yet.
    if (failure.code === 'ABORTED') return calm;
    this.#version = undefined;
    // Gone is how a server forgets old versions: no trouble.
    if (failure.code === 'API_GONE') return calm;
    this.#troubled = true;
    onTrouble?.(failure);
    return { interrupted: true, retryAfterMs: failure.retryAfterMs ?? 0 };
  }
}

/** Begins a watch with what is there: nothing may have been missed between a look and the watch. */
const anyVersion = '0';

type Trouble = Pick<WatchStep, 'interrupted' | 'retryAfterMs'>;

const calm: Trouble = { interrupted: false, retryAfterMs: 0 };

/** Servers count the seconds of a watch from when they took it up, and nodes have clocks of their own. */
const earliness = 10 * second;
