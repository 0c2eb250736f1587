/** Whether two versions of an object are the same in everything that the checks use. */
export function differsInVersionOnly<T extends { readonly resourceVersion: string }>(
  one: T,
  other: T,
): boolean {
  return withoutVersion(one) === withoutVersion(other);
}

function withoutVersion(object: object): string {
  return JSON.stringify({ ...object, resourceVersion: '' });
}
