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

/** The metadata that `follow` needs. */
export interface ApiObject {
  readonly uid: string;
  readonly resourceVersion: string;
}

export interface Target<T extends ApiObject> {
  /** The path of the collection. */
  readonly path: string;
  readonly name: string;
  readonly schema: v.GenericSchema<unknown, T>;
  /** The last version seen. If absent, `follow` reads the object first. */
  readonly resourceVersion?: string;
}

export interface FollowOptions<T extends ApiObject, R> {
  readonly target: Target<T>;
  /** Called with each state of the object, `undefined` while it is absent. A result ends `follow`. */
  readonly observe: (object: T | undefined) => R | undefined;
  /** Called for each failure; `follow` continues. */
  readonly onRetry?: ((failure: Failure) => void) | undefined;
  /** Called at the first response after failures. */
  readonly onRecovered?: (() => void) | undefined;
  readonly signal: AbortSignal;
}

/** The client, clock and randomness that `follow` needs. */
export interface FollowEnvironment {
  /** Called for each request, so that `follow` continues with a new identity. */
  readonly client: () => Pick<KubeClient, 'access' | 'request' | 'stream'>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/**
 * Follows one object until `observe` returns a result, with one watch that it reopens whenever
 * it ends, and a slow poll in case the watch goes silent (k/k #73030). Only the signal ends
 * `follow` early.
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
  /** The version at which the next watch begins. Undefined after an error: changes may be missing, so the next step reads the object. */
  #version: string | undefined;
  /** The version of the object itself; bookmarks change only `#version`. */
  #seen: string | undefined;
  /** Ends the open watch. */
  #reopen = new AbortController();
  #watchOpen = false;
  /** The server usually does not end the watch before this time. */
  #watchEnd: Instant = 0;
  /** A request failed, and none has succeeded since. */
  #retrying = false;
  /** The watch has sent nothing since the last poll. */
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
      const startedAt = clock.now();
      const version = this.#version;
      let retry: Retry = noRetry;
      try {
        const result = version === undefined ? await this.#read() : await this.#watch(version);
        if (result !== undefined) return result;
        // After a read, the watch opens at once.
        if (version === undefined && this.#version !== undefined) continue;
        const early = version !== undefined && clock.now() < this.#watchEnd;
        retry = { ...noRetry, interrupted: early && !this.#reopen.signal.aborted };
      } catch (error) {
        retry = this.#report(error);
      }
      const progress = this.#version !== undefined && this.#version !== version;
      const delay = this.#pace.delayAfter({ startedAt, now: clock.now(), progress, ...retry });
      await clock.sleep(delay, this.#options.signal);
    }
  }

  async polling(): Promise<R> {
    const { clock } = this.#environment;
    for (;;) {
      this.#silent = true;
      await clock.sleep(this.#pace.pollDelay(clock.now()), this.#options.signal);
      // An active watch needs no poll, and without a watch the other loop reads the object.
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
    const { target, observe, signal } = this.#options;
    try {
      const object = await this.#environment
        .client()
        .request(
          { verb: 'get', path: `${target.path}/${encodeURIComponent(target.name)}`, signal },
          target.schema,
        );
      this.#reportRecovery();
      this.#moveTo(object.resourceVersion);
      return observe(object);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'API_NOT_FOUND') throw error;
      this.#reportRecovery();
      this.#reportIncompleteWatch();
      // An absent object has no version; with anyVersion, the watch begins with the existing objects.
      this.#version ??= anyVersion;
      return observe(undefined);
    }
  }

  /** If the open watch did not send this version, the watch misses changes and has to be reopened. */
  #moveTo(version: string): void {
    if (this.#seen === version && this.#version !== undefined) return;
    this.#reportIncompleteWatch();
    this.#version = version;
    this.#seen = version;
    this.#reopen.abort();
  }

  /** A poll found a change that the open watch did not send. */
  #reportIncompleteWatch(): void {
    if (!this.#watchOpen) return;
    const { target, onRetry } = this.#options;
    this.#retrying = true;
    onRetry?.({
      code: 'API_TIMEOUT',
      message: `the watch of ${target.path}/${target.name} did not send a change that a read found`,
      remedy:
        'Configure the proxy or load balancer in front of the API server to pass responses on without buffering',
    });
  }

  async #watch(resourceVersion: string): Promise<R | undefined> {
    const { observe } = this.#options;
    const { path, name, schema } = this.#options.target;
    const { clock } = this.#environment;
    this.#reopen = new AbortController();
    const { signal: reopen } = this.#reopen;
    const timeoutSeconds = this.#pace.watchSeconds();
    this.#watchEnd = clock.now() + timeoutSeconds * second - watchEndLeeway;
    const events = watch(this.#environment.client(), {
      path,
      schema,
      fieldSelector: `metadata.name=${name}`,
      resourceVersion,
      timeoutSeconds,
      signal: AbortSignal.any([this.#options.signal, reopen]),
    });
    try {
      this.#watchOpen = true;
      for await (const event of events) {
        this.#silent = false;
        this.#reportRecovery();
        if (event.type === 'BOOKMARK') {
          this.#version = event.resourceVersion;
          continue;
        }
        this.#version = event.object.resourceVersion;
        this.#seen = this.#version;
        const result = observe(event.type === 'DELETED' ? undefined : event.object);
        if (result !== undefined) return result;
      }
    } catch (error) {
      if (!reopen.aborted) throw error;
    } finally {
      this.#watchOpen = false;
    }
    return undefined;
  }

  #reportRecovery(): void {
    if (!this.#retrying) return;
    this.#retrying = false;
    this.#options.onRecovered?.();
  }

  /** Makes the next step a read, and returns the effect of the failure on the delay. */
  #report(error: unknown): Retry {
    const { signal, onRetry, target } = this.#options;
    if (signal.aborted) throw aborted(`following ${target.path}/${target.name}`, signal);
    const failure = toFailure(error);
    // A client with a new identity replaced the closed one, so no change is missing.
    if (failure.code === 'ABORTED') return noRetry;
    this.#version = undefined;
    // 410 means that the server no longer has the old version, which is normal.
    if (failure.code === 'API_GONE') return noRetry;
    this.#retrying = true;
    onRetry?.(failure);
    return { interrupted: true, retryAfterMs: failure.retryAfterMs ?? 0 };
  }
}

/** Begins a watch with the existing objects, so that the watch misses no change after the read. */
const anyVersion = '0';

type Retry = Pick<WatchStep, 'interrupted' | 'retryAfterMs'>;

const noRetry: Retry = { interrupted: false, retryAfterMs: 0 };

/** The server counts the seconds of a watch by its own clock, from the time it accepted the request. */
const watchEndLeeway = 10 * second;
