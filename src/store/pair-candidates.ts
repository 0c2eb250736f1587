import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { Instant } from '../core/instant.ts';
import type { LoadedPair } from './pair-file.ts';
import { loadPair } from './pair-file.ts';
import { isBadContent, isMissing } from '../sys/file-error.ts';

/** A file of the directory that holds a pair. */
export interface Candidate {
  readonly file: string;
  readonly pair: LoadedPair;
}

export interface Candidates {
  /** The most useful first. */
  readonly pairs: readonly Candidate[];
  /** Read, and found to be no pair. */
  readonly bad: readonly string[];
  /** What came of those that could not be read: they may be the best of all. */
  readonly failures: readonly unknown[];
}

/** Loads the files, each on its own: one bad sector must not hide the pairs that are whole. */
export async function loadCandidates(options: {
  readonly directory: string;
  readonly files: readonly string[];
  readonly now: Instant;
}): Promise<Candidates> {
  const pairs: Candidate[] = [];
  const bad: string[] = [];
  const failures: unknown[] = [];
  for (const file of options.files) {
    try {
      pairs.push({ file, pair: await loadPair(join(options.directory, file)) });
    } catch (error) {
      if (isBadContent(error)) bad.push(file);
      else if (!isMissing(error)) failures.push(error);
    }
  }
  return { pairs: pairs.sort(byUsefulness(options.now)), bad, failures };
}

export function isUnexpired(facts: PairFacts, now: Instant): boolean {
  return facts.notAfter > now;
}

/**
 * Unexpired before expired, valid now before valid later, issued before self-signed,
 * and then the newest by its own dates: modification times change with every copy.
 * A pair that is not valid yet still counts, since a board without a clock wakes up in 1970.
 */
export function byUsefulness(now: Instant): (a: Candidate, b: Candidate) => number {
  return (a, b) => {
    const left = rank(a, now);
    const right = rank(b, now);
    const differs = left.findIndex((value, index) => value !== right[index]);
    return differs === -1 ? 0 : (right[differs] ?? 0) - (left[differs] ?? 0);
  };
}

function rank(candidate: Candidate, now: Instant): readonly number[] {
  const { notBefore, notAfter, selfSigned } = candidate.pair.facts;
  return [
    Number(isUnexpired(candidate.pair.facts, now)),
    Number(notBefore <= now),
    Number(!selfSigned),
    notBefore,
    notAfter,
    candidate.pair.facts.storedAt,
  ];
}
