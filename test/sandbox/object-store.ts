import type { ApiObject } from './api-object.ts';
import { StatusError } from './status-error.ts';

export interface ChangeEvent<T extends ApiObject = ApiObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /**
   * The object after the change. A deleted object keeps its last state, with a new
   * resourceVersion.
   */
  readonly object: T;
}

export type Listener<T extends ApiObject> = (event: ChangeEvent<T>) => void;

/**
 * The counter of all resourceVersions. As with etcd, resourceVersions of different
 * collections are comparable, and a watch may start at any of them.
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
 * The objects of one resource in memory, with their latest changes and the listeners. A
 * change is synchronous, so that listeners see changes in the order of their
 * resourceVersions.
 */
export class ObjectStore<T extends ApiObject> {
  readonly #revisions: Revisions;
  readonly #historyLimit: number;
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<Listener<T>>();
  #history: { readonly revision: number; readonly event: ChangeEvent<T> }[] = [];
  /** The newest change that is not in the history. A watch from before it cannot be complete. */
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

  /** Sorted by name, as the API does. */
  list(): T[] {
    return [...this.#objects.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** Adds or replaces an object, with the next resourceVersion. */
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

  /** Calls the listener for every change from now on. The returned function stops that. */
  listen(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Returns the changes after a resourceVersion. @throws StatusError Expired if some
   * are no longer known
   */
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
