/** Sets of names by a key. A key without names has no set. */
export type NameSets<K> = Map<K, Set<string>>;

export function addName<K>(sets: NameSets<K>, key: K, name: string): void {
  const names = sets.get(key);
  if (names === undefined) sets.set(key, new Set([name]));
  else names.add(name);
}

export function removeName<K>(sets: NameSets<K>, key: K, name: string): void {
  const names = sets.get(key);
  names?.delete(name);
  if (names?.size === 0) sets.delete(key);
}
