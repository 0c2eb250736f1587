import type * as v from 'valibot';
import type { ErrorCode, Failure } from '../core/errors.ts';
import { AgentError, hasCode, toFailure } from '../core/errors.ts';
import { minute, second } from '../core/instant.ts';
import { expiredVersionDelay, reflectorDelay, reflectorWatchSeconds } from '../core/timing.ts';
import { badResponse } from './body.ts';
import { aborted, Deadline } from './deadline.ts';
import type { FollowEnvironment } from './follow.ts';
import { listPages } from './list-pages.ts';
import type { WatchEvent, WatchRequest } from './watch.ts';
import { watch } from './watch.ts';

/** The metadata that a reflector needs. */
export interface NamedObject {
  readonly name: string;
  readonly resourceVersion: string;
}

/** Receives the objects of a collection, in the order of their changes. */
export interface Reflection<T extends NamedObject> {
  /** The objects that the receiver has. The reflector removes those that a new list lacks. */
  names(): Iterable<string>;
  set(object: T): void;
  delete(name: string): void;
  /** The receiver has every change so far. Called after each list, and a second after a watch continued. */
  synced(): void;
  /** Changes may be missing until `synced` is called. */
  outdated(): void;
}

export interface ReflectorOptions<T extends NamedObject> {
  /** The path of the collection. */
  readonly path: string;
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
  /** Keeps only the fields that the receiver needs, because the objects stay in memory. */
  readonly schema: v.GenericSchema<unknown, T>;
  readonly reflection: Reflection<T>;
  /** Called for each failure; the reflector continues. */
  readonly onRetry: (failure: Failure) => void;
  /** Called at the first response after failures. */
  readonly onRecovered: () => void;
}

/**
 * Keeps a copy of a collection: reads it, then applies the changes of one watch, which it reopens
 * whenever it ends. Servers since 1.34 send the existing objects in the watch (WatchList); other
 * servers get a paged list first.
 */
export class Reflector<T extends NamedObject> {
  readonly #environment: FollowEnvironment;
  readonly #options: ReflectorOptions<T>;
  /** The version at which the next watch begins. Undefined when the collection has to be read first. */
  #version: string | undefined;
  #streamsLists = true;
  #failures = 0;
  /** Consecutive watches that ended too early to be of use. */
  #earlyEnds = 0;
  /** How often changes began to be missing. */
  #losses = 0;

  constructor(environment: FollowEnvironment, options: ReflectorOptions<T>) {
    this.#environment = environment;
    this.#options = options;
  }

  /** Only the signal ends it. @throws AgentError ABORTED */
  async run(signal: AbortSignal): Promise<never> {
    const { clock } = this.#environment;
    for (;;) {
      let delay = 0;
      try {
        await this.#step(signal);
        delay = shortestWatchPause;
      } catch (error) {
        delay = this.#delayAfter(error, signal);
      }
      await clock.sleep(delay, signal);
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    if (this.#version !== undefined) return this.#watch(this.#version, signal);
    if (this.#streamsLists) return this.#watchList(signal);
    return this.#list(signal);
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#environment;
    const startedAt = clock.elapsed();
    for await (const event of watch(client(), this.#request(resourceVersion, signal))) {
      this.#earlyEnds = 0;
      this.#apply(event);
    }
    const isUnchanged = this.#version === resourceVersion;
    if (isUnchanged && clock.elapsed() - startedAt < shortestWatch) throw this.#earlyEnd();
  }

  /**
   * A proxy that ends every watch at once must not cause a busy loop, and may hide changes. client-go
   * also treats such a watch as a failure (tools/cache/reflector.go, VeryShortWatchError).
   */
  #earlyEnd(): AgentError {
    this.#earlyEnds += 1;
    return new AgentError('API_UNREACHABLE', `watch ${this.#options.path}: it ended too early`, {
      remedy: 'Check the proxies and load balancers between the API server and this machine',
    });
  }

  /** One watch that begins with all existing objects (KEP-3157), and continues with the changes. */
  async #watchList(signal: AbortSignal): Promise<void> {
    const { clock } = this.#environment;
    const what = `reading ${this.#options.path}`;
    using silence = new Deadline({ clock, ms: longestSilence, signal, what });
    const request = this.#request(undefined, silence.signal);
    /** Undefined once all existing objects have arrived. */
    let existing: Set<string> | undefined = new Set();
    try {
      for await (const event of watch(this.#environment.client(), request)) {
        this.#apply(event);
        if (existing === undefined) continue;
        silence.restart(longestSilence);
        if (event.type !== 'BOOKMARK') existing.add(event.object.name);
        else if (event.initialEventsEnd) {
          this.#finishList(existing);
          existing = undefined;
          // From here on, the timeout of the watch applies.
          silence.restart(2 * request.timeoutSeconds * second);
        }
      }
    } catch (error) {
      const silent = silence.signal.aborted && !signal.aborted;
      if (existing === undefined || !(silent || hasCode(error, 'API_BAD_REQUEST'))) throw error;
      this.#streamsLists = false;
      return;
    } finally {
      if (existing !== undefined) this.#version = undefined;
    }
    if (existing !== undefined) throw this.#earlyEnd();
  }

  #apply(event: WatchEvent<T>): void {
    if (event.type === 'BOOKMARK') {
      this.#version = event.resourceVersion;
      return;
    }
    const { name, resourceVersion } = event.object;
    this.#version = resourceVersion;
    const { reflection } = this.#options;
    if (event.type === 'DELETED') reflection.delete(name);
    else reflection.set(event.object);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { path, fieldSelector, labelSelector, schema, reflection } = this.#options;
    const existing = new Set<string>();
    const pages = listPages({
      client: this.#environment.client,
      path,
      query: {
        ...(fieldSelector !== undefined && { fieldSelector }),
        ...(labelSelector !== undefined && { labelSelector }),
      },
      schema,
      limit: pageSize,
      bodyBytes: pageBytes,
      signal,
    });
    let version = '';
    for await (const { resourceVersion, items } of pages) {
      this.#recovered();
      for (const item of items) {
        existing.add(item.name);
        reflection.set(item);
      }
      version = resourceVersion;
    }
    if (version === '') throw badResponse(`the response to list ${path} has no resourceVersion`);
    this.#version = version;
    this.#finishList(existing);
  }

  #finishList(existing: ReadonlySet<string>): void {
    const { reflection } = this.#options;
    const missing = [...reflection.names()].filter((name) => !existing.has(name));
    for (const name of missing) reflection.delete(name);
    this.#earlyEnds = 0;
    reflection.synced();
  }

  #request(resourceVersion: string | undefined, signal: AbortSignal): WatchRequest<T> {
    const { path, fieldSelector, labelSelector, schema } = this.#options;
    return {
      path,
      ...(fieldSelector !== undefined && { fieldSelector }),
      ...(labelSelector !== undefined && { labelSelector }),
      resourceVersion,
      schema,
      timeoutSeconds: reflectorWatchSeconds(this.#environment.random()),
      eventBytes: longestEvent,
      onOpen: () => {
        if (this.#recovered() && resourceVersion !== undefined) void this.#catchUp(signal);
      },
      signal,
    };
  }

  /** The server sends what the watch has missed right after it opens, and nothing marks the end. */
  async #catchUp(signal: AbortSignal): Promise<void> {
    const losses = this.#losses;
    try {
      await this.#environment.clock.sleep(catchUpTime, signal);
    } catch {
      return; // The reflector ends.
    }
    if (losses === this.#losses) this.#options.reflection.synced();
  }

  /** True after failures. */
  #recovered(): boolean {
    if (this.#failures === 0) return false;
    this.#failures = 0;
    this.#options.onRecovered();
    return true;
  }

  #delayAfter(error: unknown, signal: AbortSignal): number {
    const { path, reflection, onRetry } = this.#options;
    const { random } = this.#environment;
    if (signal.aborted) throw aborted(`watching ${path}`, signal);
    const failure = toFailure(error);
    // A client with a new identity replaced the closed one, so no change is missing.
    if (failure.code === 'ABORTED') return shortestWatchPause;
    this.#losses += 1;
    reflection.outdated();
    if (endsVersion.has(failure.code)) this.#version = undefined;
    // 410 means that the server no longer has the old version, which is normal.
    if (failure.code === 'API_GONE') return expiredVersionDelay(random());
    this.#failures += 1;
    onRetry(failure);
    const failures = Math.max(this.#failures, this.#earlyEnds);
    return reflectorDelay(failures, failure.retryAfterMs ?? 0, random());
  }
}

/** After other failures, the next watch continues at the last version. */
const endsVersion: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'API_GONE',
  'API_BAD_REQUEST',
  'API_BAD_RESPONSE',
]);

const pageSize = 500;
/** 500 Nodes with the names of many images have 10 MiB. */
const pageBytes = 64 * 1024 * 1024;
/** etcd stores objects up to 1.5 MiB, which are longer in JSON because of base64 and escapes. */
const longestEvent = 8 * 1024 * 1024;
/** A server without WatchList sends the existing objects and then no bookmark. */
const longestSilence = minute;
const shortestWatchPause = second / 10;
/** A server ends a watch after minutes. */
const shortestWatch = second;
const catchUpTime = second;
