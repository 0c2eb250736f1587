import { basename, dirname } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { RollBackOutcome } from '../core/enroller-protocol.ts';
import type { Instant } from '../core/instant.ts';
import { minimumTimeLeftForRollback } from '../core/timing.ts';
import { replaceLink } from './atomic-file.ts';
import { loadCandidates } from './pair-candidates.ts';
import type { Candidate } from './pair-candidates.ts';
import type { PairDirectory } from './pair-directory.ts';
import type { LoadedPair } from './pair-file.ts';
import { loadPair } from './pair-file.ts';
import { stirOthers } from './pair-retention.ts';
import { orBadContent, unlessMissing } from '../sys/file-error.ts';

/** What there is to report of it. */
export type RollBack = Exclude<RollBackOutcome, { kind: 'failed' }>;

/**
 * Points the link at the pair before the one with this serial, which keeps its name for
 * whoever is about to open it, and gets a second one by which it is known: it is not to
 * take over as the newest. Readers find either pair, whatever happens on the way.
 * @throws AgentError STORE_PERMISSIONS, STORE_FULL, STORE_IO; nothing has changed then
 */
export async function rollBack(
  files: PairDirectory,
  options: {
    readonly from: string;
    readonly now: Instant;
    readonly linkTarget: (file: string) => string;
  },
): Promise<RollBack> {
  const { link } = files;
  const path = await files.realPath(link);
  const current = path === undefined ? undefined : await pairAt(path);
  if (path === undefined || current?.facts.serial !== options.from) return { kind: 'overtaken' };
  if (dirname(path) !== (await files.realPath(files.directory))) {
    return { kind: 'impossible', reason: `${link} leads out of its directory` };
  }
  const earlier = await earlierPair(files, basename(path), options.now);
  if (earlier === undefined) {
    return {
      kind: 'impossible',
      reason: 'there is no earlier pair that will be valid for a while',
    };
  }
  const kept = await files.markRolledBack(basename(path));
  try {
    await replaceLink({ link, target: options.linkTarget(earlier.file) });
  } catch (error) {
    await files.unmark(kept);
    throw error;
  }
  const detail = `now leads to ${earlier.file}; what it led to is kept as ${kept}`;
  return {
    kind: 'rolled-back',
    pair: earlier.pair.facts,
    findings: [{ kind: 'pair-rolled-back', path: link, detail }, ...(await stirOthers(files))],
  };
}

async function pairAt(path: string): Promise<LoadedPair | undefined> {
  const found = await unlessMissing(() => orBadContent(() => loadPair(path)));
  return found instanceof Error ? undefined : found;
}

/** The most useful one, of those that matched their keys when they were read just now. */
async function earlierPair(
  files: PairDirectory,
  current: string,
  now: Instant,
): Promise<Candidate | undefined> {
  const rolledBack = await files.rolledBackFiles();
  const others = (await files.pairFiles()).filter(
    (file) => file !== current && !rolledBack.includes(file),
  );
  const { directory } = files;
  const { pairs } = await loadCandidates({ directory, files: others, now });
  return pairs.find(({ pair }) => mayReturn(pair.facts, now));
}

/** A stand-in is no identity, and what ends in a moment is no way out. */
function mayReturn({ notBefore, notAfter, selfSigned }: PairFacts, now: Instant): boolean {
  return !selfSigned && notBefore <= now && notAfter - now >= minimumTimeLeftForRollback;
}
