import { basename, dirname } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { RollbackOutcome } from '../core/enroller-protocol.ts';
import type { Instant } from '../core/instant.ts';
import { minimumTimeLeftForRollback } from '../core/timing.ts';
import { replaceLink } from './atomic-file.ts';
import { loadCandidates } from './pair-candidates.ts';
import type { Candidate } from './pair-candidates.ts';
import type { PairDirectory } from './pair-directory.ts';
import type { LoadedPair } from './pair-file.ts';
import { loadPair } from './pair-file.ts';
import { touchPreviousPairs } from './pair-retention.ts';
import { orBadContent, unlessMissing } from '../sys/file-error.ts';

/** The outcome of a rollback that did not throw. */
export type RollBack = Exclude<RollbackOutcome, { kind: 'failed' }>;

/**
 * Points the link at the previous key pair, if the current key pair still has the serial `from`.
 * The rolled-back key pair keeps its name for readers that are about to open it, and gets a
 * second name, so that no inspection links it again as the newest. At every moment, readers find
 * one of the two key pairs.
 * @throws AgentError STORE_PERMISSIONS, STORE_FULL, STORE_IO, before any change
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
  if (path === undefined || current?.facts.serial !== options.from) return { kind: 'replaced' };
  if (dirname(path) !== (await files.realPath(files.directory))) {
    return { kind: 'impossible', reason: `the target of ${link} is in another directory` };
  }
  const earlier = await earlierPair(files, basename(path), options.now);
  if (earlier === undefined) {
    return {
      kind: 'impossible',
      reason: 'no previous certificate stays valid long enough',
    };
  }
  const kept = await files.markRolledBack(basename(path));
  try {
    await replaceLink({ link, target: options.linkTarget(earlier.file) });
  } catch (error) {
    await files.unmark(kept);
    throw error;
  }
  const detail = `now points to ${earlier.file}; the previous target is kept as ${kept}`;
  return {
    kind: 'rolled-back',
    pair: earlier.pair.facts,
    findings: [
      { kind: 'pair-rolled-back', path: link, detail },
      ...(await touchPreviousPairs(files)),
    ],
  };
}

async function pairAt(path: string): Promise<LoadedPair | undefined> {
  const found = await unlessMissing(() => orBadContent(() => loadPair(path)));
  return found instanceof Error ? undefined : found;
}

/** The best other key pair that was never rolled back and stays valid long enough. */
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
  return pairs.find(({ pair }) => isRollbackTarget(pair.facts, now));
}

/**
 * A self-signed certificate does not identify the node, and a certificate that expires soon
 * gains no time.
 */
function isRollbackTarget({ notBefore, notAfter, selfSigned }: PairFacts, now: Instant): boolean {
  return !selfSigned && notBefore <= now && notAfter - now >= minimumTimeLeftForRollback;
}
