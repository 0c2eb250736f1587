import type { ApiObject, Resource } from './api-object.ts';
import { qualifiedName } from './api-object.ts';
import type { User } from './authorization.ts';
import type { ObjectStore } from './object-store.ts';
import { StatusError } from './status-error.ts';

/** A collection of objects, with its rules for writes. Bodies come from clients, unchecked. */
export interface Registry<T extends ApiObject> {
  readonly resource: Resource;
  readonly store: ObjectStore<T>;
  /** Returns the object that a client wants to create, without storing it. @throws StatusError */
  create(body: unknown, user: User): Promise<T>;
  /**
   * Returns the object after a write to a subresource or to the object, without storing
   * it.
   * @throws StatusError
   */
  update(current: T, body: unknown, subresource: string | undefined): T;
}

/** @throws StatusError AlreadyExists, or an error of the registry */
export async function createObject<T extends ApiObject>(
  registry: Registry<T>,
  body: unknown,
  user: User,
): Promise<T> {
  const object = await registry.create(body, user);
  const { name } = object.metadata;
  if (registry.store.get(name) !== undefined) {
    throw new StatusError(
      'AlreadyExists',
      `${qualifiedName(registry.resource)} ${JSON.stringify(name)} already exists`,
      detailsOf(registry, name),
    );
  }
  return registry.store.put(object);
}

/** @throws StatusError NotFound */
export function getObject<T extends ApiObject>(registry: Registry<T>, name: string): T {
  const object = registry.store.get(name);
  if (object === undefined) {
    throw new StatusError(
      'NotFound',
      `${qualifiedName(registry.resource)} ${JSON.stringify(name)} not found`,
      detailsOf(registry, name),
    );
  }
  return object;
}

export interface Write {
  readonly name: string;
  readonly body: unknown;
  readonly subresource: string | undefined;
}

/** @throws StatusError NotFound, or an error of the registry */
export function updateObject<T extends ApiObject>(registry: Registry<T>, write: Write): T {
  const current = getObject(registry, write.name);
  return registry.store.put(registry.update(current, write.body, write.subresource));
}

export interface Preconditions {
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

/** Deletes an object if the preconditions hold. @throws StatusError NotFound or Conflict */
export function deleteObject<T extends ApiObject>(
  registry: Registry<T>,
  name: string,
  meant: Preconditions = {},
): T {
  const { metadata } = getObject(registry, name);
  for (const key of ['uid', 'resourceVersion'] as const) {
    const wanted = meant[key];
    if (wanted === undefined || wanted === metadata[key]) continue;
    throw new StatusError(
      'Conflict',
      `Operation cannot be fulfilled on ${qualifiedName(registry.resource)} ${JSON.stringify(name)}: ` +
        `the precondition ${key} is ${wanted}, found ${metadata[key]}`,
      detailsOf(registry, name),
    );
  }
  return registry.store.delete(name) ?? getObject(registry, name);
}

function detailsOf(
  registry: Pick<Registry<ApiObject>, 'resource'>,
  name: string,
): { name: string; group: string; kind: string } {
  return { name, group: registry.resource.group, kind: registry.resource.plural };
}
