import type { CsrReference } from './facts.ts';

/** Negative if `left` was created before `right`. Creation times have whole seconds. */
export function compareAge(
  left: Pick<CsrReference, 'createdAt' | 'resourceVersion'>,
  right: Pick<CsrReference, 'createdAt' | 'resourceVersion'>,
): number {
  return (
    left.createdAt - right.createdAt || compareVersions(left.resourceVersion, right.resourceVersion)
  );
}

/** Resource versions are decimal numbers of up to 64 bits, too long for a number of JavaScript. */
function compareVersions(left: string, right: string): number {
  if (left.length !== right.length) return left.length - right.length;
  return left < right ? -1 : left > right ? 1 : 0;
}
