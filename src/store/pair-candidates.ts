import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { Instant } from '../core/instant.ts';
import type { LoadedPair } from './pair-file.ts';
import { loadPair } from './pair-file.ts';
import { isBadContent, isMissing } from '../sys/file-error.ts';

/** A file in the directory that contains a key pair. */
export interface Candidate {
  readonly file: string;
  readonly pair: LoadedPair;
}

export interface Candidates {
  /** The best one first. */
  readonly pairs: readonly Candidate[];
  /** Files that were read and contain no key pair. */
  readonly bad: readonly string[];
  /** Errors of files that could not be read. One of these files may be the best. */
  readonly failures: readonly unknown[];
}

/** Loads each file separately, because one bad sector must not hide the intact key pairs. */
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
 * Sorts the best key pair first: unexpired before expired, valid now before valid later, issued
 * before self-signed, then the newest dates in the certificate. The modification time comes
 * last, because copying a file changes it. A certificate that is not valid yet still counts,
 * because a board without a clock starts in 1970.
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
