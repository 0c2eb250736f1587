import type * as v from 'valibot';
import type { Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import { minute, second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import { aborted } from './deadline.ts';
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
  readonly signal: AbortSignal;
}

/** The machine's parts that following needs. */
export interface FollowEnvironment {
  /** Asked for each request, so that following survives a change of identity. */
  readonly client: () => KubeClient;
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

  constructor(environment: FollowEnvironment, options: FollowOptions<T, R>) {
    this.#environment = environment;
    this.#options = options;
    this.#version = options.target.resourceVersion;
    this.#seen = this.#version;
  }

  async watching(): Promise<R> {
    const { clock, random } = this.#environment;
    for (let failures = 0; ; failures += 1) {
      const start = clock.now();
      const version = this.#version;
      let wait = 0;
      try {
        const result = version === undefined ? await this.#read() : await this.#watch(version);
        if (result !== undefined) return result;
        // Read: the watch comes next, at once.
        if (version === undefined && this.#version !== undefined) continue;
      } catch (error) {
        wait = this.#report(error);
      }
      const progress = this.#version !== undefined && this.#version !== version;
      if (progress || clock.now() - start >= steady) failures = 0;
      await clock.sleep(Math.max(wait, backoff(failures, random())), this.#options.signal);
    }
  }

  async polling(): Promise<R> {
    const { clock, random } = this.#environment;
    for (;;) {
      await clock.sleep(pollInterval * (0.9 + 0.2 * random()), this.#options.signal);
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
      this.#moveTo(object.resourceVersion);
      return look(object);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'API_NOT_FOUND') throw error;
      return look(undefined);
    }
  }

  /** A version that the open watch has not shown means that it is not to be relied on. */
  #moveTo(version: string): void {
    if (this.#seen === version && this.#version !== undefined) return;
    this.#version = version;
    this.#seen = version;
    this.#reopen.abort();
  }

  async #watch(resourceVersion: string): Promise<R | undefined> {
    const { target, look } = this.#options;
    this.#reopen = new AbortController();
    const { signal: reopen } = this.#reopen;
    const events = watch(this.#environment.client(), {
      ...target,
      resourceVersion,
      timeoutSeconds: Math.round(300 + 300 * this.#environment.random()),
      signal: AbortSignal.any([this.#options.signal, reopen]),
    });
    try {
      for await (const event of events) {
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
    }
    return undefined;
  }

  /** Makes the next step a reading one, and says how long the server wants to be left alone. */
  #report(error: unknown): number {
    const { signal, onTrouble, target } = this.#options;
    if (signal.aborted) throw aborted(`following ${target.path}/${target.name}`, signal);
    const failure = toFailure(error);
    // The client was closed under us, for one with a new identity: nothing was missed yet.
    if (failure.code === 'ABORTED') return 0;
    this.#version = undefined;
    // Gone is how a server forgets old versions: no trouble.
    if (failure.code !== 'API_GONE') onTrouble?.(failure);
    return failure.retryAfterMs ?? 0;
  }
}

/** A watch that held so long was healthy: the next one need not be waited for. */
const steady = 30 * second;
const pollInterval = 5 * minute;

/** 250 ms doubling to 30 s, of which at least half: nodes that lost one server must not come back as one. */
export function backoff(failures: number, random: number): number {
  return Math.min(250 * 2 ** failures, 30 * second) * (0.5 + random / 2);
}
