import { unlink } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { StoreConfig } from '../core/config.ts';
import type { Finding } from '../core/enroller-protocol.ts';
import { AgentError, describeError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { Secret } from '../core/secret.ts';
import type { Clock } from '../sys/clock.ts';
import { makeDirectory, replaceLink, swapLink, syncDirectory } from './atomic-file.ts';
import { directoryExists, refuseVolatile, tightenDirectory } from './certificate-directory.ts';
import { isUnexpired, loadCandidates } from './pair-candidates.ts';
import { PairDirectory } from './pair-directory.ts';
import type { LoadedPair, OpenPair } from './pair-file.ts';
import { loadPair, openPair, openSplitPair, parsePair } from './pair-file.ts';
import { splitPairFiles } from './pair-names.ts';
import { cleanupFailed, prune, stirForgotten, stirOthers } from './pair-retention.ts';
import type { RollBack } from './pair-roll-back.ts';
import { rollBack } from './pair-roll-back.ts';
import { orBadContent, unlessMissing } from '../sys/file-error.ts';

export interface PairStoreOptions {
  readonly directory: string;
  /** `kubelet-client` stands for `kubelet-client-current.pem` and the pairs behind it. */
  readonly name: string;
  readonly clock: Clock;
  readonly config: StoreConfig;
}

/** What readers of `-current.pem` find, and what had to be done for it. */
export interface Inspection {
  readonly pair?: PairFacts;
  /** SubjectPublicKeyInfo of the pair in DER. */
  readonly publicKey?: Uint8Array;
  readonly findings: Finding[];
}

/**
 * The pairs of one certificate in a kubelet's directory layout. The promise: a
 * reader of `-current.pem` finds a complete, matching pair at every instant,
 * whatever is going on or was cut short.
 *
 * The caller makes one call per name after the other: two calls at once would remove each
 * other's temporary files. directory-lock.ts keeps other processes out.
 */
export class PairStore {
  readonly #files: PairDirectory;
  readonly #clock: Clock;
  readonly #config: StoreConfig;

  constructor(options: PairStoreOptions) {
    this.#files = new PairDirectory({ ...options, directory: resolve(options.directory) });
    this.#clock = options.clock;
    this.#config = options.config;
  }

  /**
   * The pair that readers find, without touching anything; undefined when there is none.
   * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH, STORE_PERMISSIONS, STORE_IO
   */
  async peek(): Promise<LoadedPair | undefined> {
    return unlessMissing(() => loadPair(this.#files.link));
  }

  /**
   * Tidies the directory, repairs what can be repaired, and reports the pair that
   * readers find then; an expired one too. Only content that was read and found to
   * be bad is set aside: a file that cannot be read may be the best of all.
   * @throws AgentError STORE_VOLATILE, STORE_PERMISSIONS, STORE_FULL, STORE_IO
   */
  async inspect(): Promise<Inspection> {
    await this.#refuseVolatile();
    if (!(await directoryExists(this.#files.directory))) return { findings: [] };
    const findings = await tightenDirectory(this.#files.directory);
    findings.push(
      ...(await this.#files.removeStrays()),
      ...(await this.#files.tightenFiles()),
      ...(await this.#files.completeSwap()),
    );
    const pair = await this.#settle(findings);
    if (pair === undefined) return { findings };
    findings.push(
      ...(await this.#finishPruning()),
      ...(await stirForgotten(this.#files, this.#clock.now())),
    );
    return { pair: pair.facts, publicKey: pair.publicKey, findings };
  }

  /**
   * Stores a pair and points `-current.pem` at it. Until the link is swapped any
   * failure leaves the old pair in place and nothing of the new one; after that the
   * call has succeeded, and what fails is a finding. The caller wipes the bytes.
   * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH, STORE_VOLATILE,
   * STORE_PERMISSIONS, STORE_FULL, STORE_IO
   */
  async write(pem: Secret): Promise<{ readonly pair: PairFacts; readonly findings: Finding[] }> {
    await parsePair(pem, `the new pair of ${this.#files.name}`);
    await this.#refuseVolatile();
    await makeDirectory(this.#files.directory);
    const findings = await tightenDirectory(this.#files.directory);
    // Renaming a link over a plain file would lose what may be somebody's only copy.
    if ((await this.#files.linkKind()) === 'other') await this.#replaceNonLink(findings);
    const replaced = await this.#files.realPath(this.#files.link);
    const { facts } = await this.#store(pem);
    const { previousPairs } = this.#config;
    const pruned = await prune(this.#files, {
      previousPairs,
      replaced,
      rolledBack: 'remove',
      now: this.#clock.now(),
    });
    findings.push(...(await this.#sync()), ...pruned, ...(await stirOthers(this.#files, pruned)));
    return { pair: facts, findings };
  }

  /**
   * Goes back from the pair with this serial to the one before it, which has to be valid
   * and to stay so for a while.
   * @throws AgentError as rollBack
   */
  async rollBack(from: string): Promise<RollBack> {
    return rollBack(this.#files, {
      from,
      now: this.#clock.now(),
      linkTarget: (file) => this.#linkTarget(file),
    });
  }

  /**
   * What a write would have removed, had it not been cut short after its swap: until
   * the next one, which may be a year away, those keys would lie there. One pair more
   * than configured may stay: the one replaced last, which a reader may be about to open.
   */
  async #finishPruning(): Promise<Finding[]> {
    const previousPairs = Math.max(this.#config.previousPairs, 1);
    return prune(this.#files, {
      previousPairs,
      replaced: undefined,
      rolledBack: 'keep',
      now: this.#clock.now(),
    });
  }

  /** Brings a readable pair behind the link, from the best source there is. */
  async #settle(findings: Finding[]): Promise<LoadedPair | undefined> {
    const kind = await this.#files.linkKind();
    const current = kind === 'link' ? await this.#readLinked() : {};
    if (current.pair !== undefined) return current.pair;
    const pair =
      (kind === 'other' ? await this.#replaceNonLink(findings) : undefined) ??
      (await this.#takeOver(findings)) ??
      (await this.#adoptSplitPair(findings));
    // Only now, when readers have the other pair already.
    if (current.bad !== undefined) {
      findings.push(await this.#files.setAside(current.bad.path, current.bad.reason));
    }
    return pair;
  }

  /** The pair behind the link, or the file of our directory that is none; neither when the link leads nowhere. */
  async #readLinked(): Promise<{
    readonly pair?: LoadedPair;
    readonly bad?: { readonly path: string; readonly reason: string };
  }> {
    // Resolved once, so that what may be set aside is the very file that was read.
    const path = await this.#files.realPath(this.#files.link);
    if (path === undefined) return {};
    const found = await unlessMissing(() => orBadContent(() => loadPair(path)));
    if (found === undefined) return {};
    if (!(found instanceof AgentError)) return { pair: found };
    const ours = await this.#files.realPath(this.#files.directory);
    // A file elsewhere belongs to somebody else: the link is repaired, the file left alone.
    return dirname(path) === ours ? { bad: { path, reason: describeError(found) } } : {};
  }

  /** Something put a plain file in the place of the link: a pair is moved behind a link, anything else out of the way. */
  async #replaceNonLink(findings: Finding[]): Promise<LoadedPair | undefined> {
    const { link } = this.#files;
    const found = await orBadContent(() => openPair(link));
    if (found instanceof AgentError) {
      findings.push(await this.#files.setAside(link, describeError(found)));
      return undefined;
    }
    using open = found;
    return await this.#adopt(open, `the plain file ${link}`, findings);
  }

  /** Points the link at the most useful pair of the directory that has not expired. */
  async #takeOver(findings: Finding[]): Promise<LoadedPair | undefined> {
    const now = this.#clock.now();
    const { directory, link } = this.#files;
    const files = await this.#files.pairFiles();
    const { pairs, failures } = await loadCandidates({ directory, files, now });
    const usable = pairs.filter((candidate) => isUnexpired(candidate.pair.facts, now));
    const rolledBack = await this.#files.rolledBackFiles();
    // What was gone back from only rather than nothing: a reader without a pair cannot even start.
    const best = usable.find(({ file }) => !rolledBack.includes(file)) ?? usable[0];
    if (best === undefined) {
      if (failures.length > 0) throw failures[0];
      return undefined;
    }
    await replaceLink({ link, target: this.#linkTarget(best.file) });
    findings.push({ kind: 'link-repaired', path: link, detail: `now leads to ${best.file}` });
    return best.pair;
  }

  /** Takes over what a kubelet keeps in two files, as its own store falls back to them. */
  async #adoptSplitPair(findings: Finding[]): Promise<LoadedPair | undefined> {
    for (const names of splitPairFiles(this.#files.name)) {
      const certificate = this.#files.path(names.certificate);
      const key = this.#files.path(names.key);
      const found = await unlessMissing(() =>
        orBadContent(() => openSplitPair({ certificate, key })),
      );
      if (found === undefined || found instanceof AgentError) continue;
      using open = found;
      if (!isUnexpired(open.pair.facts, this.#clock.now())) continue;
      return await this.#adopt(open, `${names.certificate} and ${names.key}`, findings);
    }
    return undefined;
  }

  async #adopt(open: OpenPair, origin: string, findings: Finding[]): Promise<LoadedPair> {
    // With the time of the original, so that adopting it does not move the rotation deadline.
    const pair = await this.#store(open.content, open.pair.facts.storedAt);
    const { path } = pair.facts;
    findings.push({ kind: 'pair-adopted', path, detail: `copied from ${origin}` });
    findings.push(...(await this.#sync()));
    return pair;
  }

  /** From bytes to the pair that readers find; on the disk for good after `#sync`. */
  async #store(content: Secret, modifiedAt?: Instant): Promise<LoadedPair> {
    const path = await this.#files.create(content, modifiedAt);
    try {
      const pair = await loadPair(path);
      await swapLink({ link: this.#files.link, target: this.#linkTarget(basename(path)) });
      return pair;
    } catch (error) {
      if (!(await this.#mayBeLinked(path))) await unlink(path).catch(() => {});
      throw error;
    }
  }

  /** A swap that failed has not happened, except perhaps on a network file system: in doubt the pair stays. */
  async #mayBeLinked(path: string): Promise<boolean> {
    try {
      return (await this.#files.realPath(this.#files.link)) === (await this.#files.realPath(path));
    } catch {
      return true;
    }
  }

  #linkTarget(file: string): string {
    return this.#config.relativeLinks ? file : this.#files.path(file);
  }

  async #sync(): Promise<Finding[]> {
    const { directory } = this.#files;
    try {
      await syncDirectory(directory);
      return [];
    } catch (error) {
      return [cleanupFailed(directory, error)];
    }
  }

  async #refuseVolatile(): Promise<void> {
    if (!this.#config.acceptVolatileDirectory) await refuseVolatile(this.#files.directory);
  }
}
