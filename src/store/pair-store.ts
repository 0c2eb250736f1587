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
import { cleanupFailed, prune, touchMissedPairs, touchPreviousPairs } from './pair-retention.ts';
import type { RollBack } from './pair-rollback.ts';
import { rollBack } from './pair-rollback.ts';
import { orBadContent, unlessMissing } from '../sys/file-error.ts';

export interface PairStoreOptions {
  readonly directory: string;
  /** For example `kubelet-client`, for `kubelet-client-current.pem` and its key pairs. */
  readonly name: string;
  readonly clock: Clock;
  readonly config: StoreConfig;
}

/** The key pair behind `-current.pem`, and the repairs that the inspection made. */
export interface Inspection {
  readonly pair?: PairFacts;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey?: Uint8Array;
  readonly findings: Finding[];
}

/**
 * The key pairs of one certificate in a kubelet's directory layout. At every moment, also after
 * an interruption, a reader of `-current.pem` finds a complete and matching key pair.
 *
 * Callers make one call at a time for each name, because concurrent calls would remove each
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
   * Reads the current key pair and changes nothing. Undefined if there is none.
   * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH, STORE_PERMISSIONS, STORE_IO
   */
  async peek(): Promise<LoadedPair | undefined> {
    return unlessMissing(() => loadPair(this.#files.link));
  }

  /**
   * Cleans up and repairs the directory, and returns the current key pair, even an expired
   * one. Sets a file aside only after reading its content: an unreadable file may be the best
   * one.
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
    const pair = await this.#repairLink(findings);
    if (pair === undefined) return { findings };
    findings.push(
      ...(await this.#finishPruning()),
      ...(await touchMissedPairs(this.#files, this.#clock.now())),
    );
    return { pair: pair.facts, publicKey: pair.publicKey, findings };
  }

  /**
   * Stores a key pair and points `-current.pem` at it. A failure before the swap keeps the
   * previous key pair and removes the new one. After the swap, the call succeeds and reports a
   * failure as a finding. The caller wipes the bytes.
   * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH, STORE_VOLATILE, STORE_PERMISSIONS,
   * STORE_FULL, STORE_IO
   */
  async write(pem: Secret): Promise<{ readonly pair: PairFacts; readonly findings: Finding[] }> {
    await parsePair(pem, `the new key pair of ${this.#files.name}`);
    await this.#refuseVolatile();
    await makeDirectory(this.#files.directory);
    const findings = await tightenDirectory(this.#files.directory);
    // Renaming a link over a plain file could destroy the only copy of a key pair.
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
    findings.push(
      ...(await this.#sync()),
      ...pruned,
      ...(await touchPreviousPairs(this.#files, pruned)),
    );
    return { pair: facts, findings };
  }

  /**
   * Points the link at the previous key pair, if the current key pair still has the serial
   * `from`. The previous key pair must be valid, and stay valid for
   * `minimumTimeLeftForRollback`.
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
   * Removes old keys that a write left because it was interrupted after its swap; the next write
   * may be a year away. Keeps at least one previous key pair, which a reader may be about to
   * open.
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

  /** Makes the link point to a readable key pair, from the best source. */
  async #repairLink(findings: Finding[]): Promise<LoadedPair | undefined> {
    const kind = await this.#files.linkKind();
    const current = kind === 'link' ? await this.#readLinked() : {};
    if (current.pair !== undefined) return current.pair;
    const pair =
      (kind === 'other' ? await this.#replaceNonLink(findings) : undefined) ??
      (await this.#linkBestPair(findings)) ??
      (await this.#copySplitPair(findings));
    // Comes last, so that readers find another key pair, if there is one, at every moment.
    if (current.bad !== undefined) {
      findings.push(await this.#files.setAside(current.bad.path, current.bad.reason));
    }
    return pair;
  }

  /**
   * The key pair behind the link, or the corrupt file of this directory; neither if the target
   * does not exist.
   */
  async #readLinked(): Promise<{
    readonly pair?: LoadedPair;
    readonly bad?: { readonly path: string; readonly reason: string };
  }> {
    // Resolved once, so that exactly the file that was read is set aside.
    const path = await this.#files.realPath(this.#files.link);
    if (path === undefined) return {};
    const found = await unlessMissing(() => orBadContent(() => loadPair(path)));
    if (found === undefined) return {};
    if (!(found instanceof AgentError)) return { pair: found };
    const ours = await this.#files.realPath(this.#files.directory);
    // A file in another directory is not ours: the link is repaired, and the file stays.
    return dirname(path) === ours ? { bad: { path, reason: describeError(found) } } : {};
  }

  /**
   * Replaces a plain file at the path of the link: stores and links its key pair, or sets the
   * file aside if it contains none.
   */
  async #replaceNonLink(findings: Finding[]): Promise<LoadedPair | undefined> {
    const { link } = this.#files;
    const found = await orBadContent(() => openPair(link));
    if (found instanceof AgentError) {
      findings.push(await this.#files.setAside(link, describeError(found)));
      return undefined;
    }
    using open = found;
    return await this.#copyAndLink(open, `the plain file ${link}`, findings);
  }

  /** Points the link at the best key pair of the directory that has not expired. */
  async #linkBestPair(findings: Finding[]): Promise<LoadedPair | undefined> {
    const now = this.#clock.now();
    const { directory, link } = this.#files;
    const files = await this.#files.pairFiles();
    const { pairs, failures } = await loadCandidates({ directory, files, now });
    const usable = pairs.filter((candidate) => isUnexpired(candidate.pair.facts, now));
    const rolledBack = await this.#files.rolledBackFiles();
    // A rolled-back key pair is better than none: a server without a key pair cannot start.
    const best = usable.find(({ file }) => !rolledBack.includes(file)) ?? usable[0];
    if (best === undefined) {
      if (failures.length > 0) throw failures[0];
      return undefined;
    }
    await replaceLink({ link, target: this.#linkTarget(best.file) });
    findings.push({ kind: 'link-repaired', path: link, detail: `now points to ${best.file}` });
    return best.pair;
  }

  /**
   * Copies a key pair that a kubelet keeps in two files, which are the fallback of its own
   * store.
   */
  async #copySplitPair(findings: Finding[]): Promise<LoadedPair | undefined> {
    for (const names of splitPairFiles(this.#files.name)) {
      const certificate = this.#files.path(names.certificate);
      const key = this.#files.path(names.key);
      const found = await unlessMissing(() =>
        orBadContent(() => openSplitPair({ certificate, key })),
      );
      if (found === undefined || found instanceof AgentError) continue;
      using open = found;
      if (!isUnexpired(open.pair.facts, this.#clock.now())) continue;
      return await this.#copyAndLink(open, `${names.certificate} and ${names.key}`, findings);
    }
    return undefined;
  }

  async #copyAndLink(open: OpenPair, origin: string, findings: Finding[]): Promise<LoadedPair> {
    // Keeps the time of the original, which determines the rotation deadline.
    const pair = await this.#store(open.content, open.pair.facts.storedAt);
    const { path } = pair.facts;
    findings.push({ kind: 'pair-adopted', path, detail: `copied from ${origin}` });
    findings.push(...(await this.#sync()));
    return pair;
  }

  /** Writes and links a key pair. The new link survives a power loss only after `#sync`. */
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

  /**
   * On a network file system, a swap can happen and still report an error. If the target of the
   * link cannot be read, the key pair stays.
   */
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
