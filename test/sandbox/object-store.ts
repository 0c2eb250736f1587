import type { ApiObject } from './api-object.ts';
import { StatusError } from './status-error.ts';

export interface ChangeEvent<T extends ApiObject = ApiObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** As it is after the change; of a deleted object the last state under a resourceVersion of its own. */
  readonly object: T;
}

export type Listener<T extends ApiObject> = (event: ChangeEvent<T>) => void;

/**
 * The one counter behind all resourceVersions. Numbers of different collections
 * are comparable, as with etcd, and a watch may start at any of them.
 */
export class Revisions {
  #current = 1;

  get current(): number {
    return this.#current;
  }

  next(): number {
    this.#current += 1;
    return this.#current;
  }
}

/**
 * The objects of one resource in memory, their latest changes, and whoever listens
 * for more. Changes are made in one synchronous step, so that listeners see them in
 * the order of their resourceVersions.
 */
export class ObjectStore<T extends ApiObject> {
  readonly #revisions: Revisions;
  readonly #historyLimit: number;
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<Listener<T>>();
  #history: { readonly revision: number; readonly event: ChangeEvent<T> }[] = [];
  /** The newest change that is no longer in the history: a watch from before it cannot be complete. */
  #forgotten = 0;

  constructor(revisions: Revisions, historyLimit: number) {
    this.#revisions = revisions;
    this.#historyLimit = historyLimit;
  }

  /** The newest resourceVersion of all collections. */
  get revision(): number {
    return this.#revisions.current;
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  /** By name, as the API lists. */
  list(): T[] {
    return [...this.#objects.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** Puts an object in under the next resourceVersion, in place of one of the same name if there is one. */
  put(object: T): T {
    const type = this.#objects.has(object.metadata.name) ? 'MODIFIED' : 'ADDED';
    const stored = this.#stamp(object);
    this.#objects.set(stored.metadata.name, stored);
    this.#publish({ type, object: stored });
    return stored;
  }

  delete(name: string): T | undefined {
    const object = this.#objects.get(name);
    if (object === undefined) return undefined;
    this.#objects.delete(name);
    const last = this.#stamp(object);
    this.#publish({ type: 'DELETED', object: last });
    return last;
  }

  /** Hears every change from now on; call the result to stop. */
  listen(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** What changed after a resourceVersion. @throws StatusError Expired when part of it is forgotten */
  since(revision: number): ChangeEvent<T>[] {
    if (revision < this.#forgotten) {
      throw new StatusError(
        'Expired',
        `too old resource version: ${revision} (${this.#forgotten})`,
      );
    }
    return this.#history.filter((entry) => entry.revision > revision).map((entry) => entry.event);
  }

  #stamp(object: T): T {
    const resourceVersion = String(this.#revisions.next());
    return { ...object, metadata: { ...object.metadata, resourceVersion } };
  }

  #publish(event: ChangeEvent<T>): void {
    this.#history.push({ revision: Number(event.object.metadata.resourceVersion), event });
    const excess = this.#history.length - this.#historyLimit;
    if (excess > 0) {
      this.#forgotten = this.#history[excess - 1]?.revision ?? this.#forgotten;
      this.#history = this.#history.slice(excess);
    }
    for (const listener of this.#listeners) listener(event);
  }
}
