/**
 * The three functions of the Reflect metadata proposal that tsyringe, a dependency of
 * @peculiar/x509, requires. Load this file before the library. The package reflect-metadata does
 * the same, but has 50 kB and needs ten times the memory.
 */
const metadata = new WeakMap<object, Map<unknown, unknown>>();

Object.assign(Reflect, {
  getMetadata: (key: unknown, target: object): unknown => metadata.get(target)?.get(key),
  getOwnMetadata: (key: unknown, target: object): unknown => metadata.get(target)?.get(key),
  defineMetadata: (key: unknown, value: unknown, target: object): void => {
    const entries = metadata.get(target) ?? new Map<unknown, unknown>();
    metadata.set(target, entries.set(key, value));
  },
});
