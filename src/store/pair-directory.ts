import type { Dirent } from 'node:fs';
import { chmod, link, lstat, readdir, realpath, rename, unlink, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Finding } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import type { Secret } from '../core/secret.ts';
import type { Clock } from '../sys/clock.ts';
import { putFile, removeStraysFor, syncDirectory } from './atomic-file.ts';
import { readBoundedFile } from '../sys/small-file.ts';
import { currentLink } from '../core/certificate-spec.ts';
import {
  isPairFile,
  pairFile,
  rolledBackFile,
  rolledBackPair,
  setAsideFile,
  setAsideMoment,
  updatedLink,
} from './pair-names.ts';
import { attempt, unlessMissing } from '../sys/file-error.ts';

/** More key pairs than the agent can write within one second. */
const maxNames = 1000;
const ownerOnly = 0o600;

/** Operations on the files of one certificate. PairStore decides when to use them. */
export class PairDirectory {
  readonly directory: string;
  readonly name: string;
  readonly #clock: Clock;

  constructor(options: {
    readonly directory: string;
    readonly name: string;
    readonly clock: Clock;
  }) {
    this.directory = options.directory;
    this.name = options.name;
    this.#clock = options.clock;
  }

  path(file: string): string {
    return join(this.directory, file);
  }

  /** The `-current.pem` that readers open. */
  get link(): string {
    return this.path(currentLink(this.name));
  }

  /** The kind of file at the path of the link. */
  async linkKind(): Promise<'missing' | 'link' | 'other'> {
    return kindOf(this.link);
  }

  /** Files with the name of a key pair of this certificate, readable or not. */
  async pairFiles(): Promise<string[]> {
    const entries = await this.#entries();
    return entries.filter((entry) => isPairFile(this.name, entry.name)).map(({ name }) => name);
  }

  /**
   * Writes a new key pair and reads it back before the file gets its name, so a crash leaves
   * only a temporary file. Removes the file again if anything fails.
   */
  async create(content: Secret, modifiedAt?: Instant): Promise<string> {
    const path = await this.#freePath();
    const check = async (temporary: string): Promise<void> => {
      if (modifiedAt !== undefined) {
        const seconds = modifiedAt / second;
        await attempt('set the time of', temporary, () => utimes(temporary, seconds, seconds));
      }
      await requireContent(temporary, content);
    };
    await putFile(path, { bytes: content.expose(), mode: ownerOnly, check });
    try {
      // The name of the file must be on the disk before a link to it.
      await syncDirectory(this.directory);
      return path;
    } catch (error) {
      await unlink(path).catch(() => {});
      throw error;
    }
  }

  /**
   * Completes an interrupted swap: a kubelet removes its current link before it renames the
   * new one.
   */
  async completeSwap(): Promise<Finding[]> {
    const updated = this.path(updatedLink(this.name));
    if ((await this.linkKind()) !== 'missing' || (await kindOf(updated)) !== 'link') return [];
    await attempt('rename', updated, () => rename(updated, this.link));
    await syncDirectory(this.directory);
    return [
      { kind: 'swap-completed', path: this.link, detail: `replaced with ${basename(updated)}` },
    ];
  }

  async removeStrays(): Promise<Finding[]> {
    const strays = await removeStraysFor(
      this.directory,
      (name) => name === currentLink(this.name) || isPairFile(this.name, name),
    );
    return strays.map((path) => ({
      kind: 'stray-removed',
      path,
      detail: 'left behind by an interrupted write',
    }));
  }

  /**
   * Removes the permissions of group and others from every file of this name, because it may
   * contain a key.
   */
  async tightenFiles(): Promise<Finding[]> {
    const findings: Finding[] = [];
    for (const { name } of (await this.#entries()).filter((entry) => entry.isFile())) {
      if (!isPairFile(this.name, name) && setAsideMoment(this.name, name) === undefined) continue;
      findings.push(...(await tightenFile(this.path(name))));
    }
    return findings;
  }

  /** Renames a corrupt file and never deletes it: an administrator may want to inspect it. */
  async setAside(path: string, reason: string): Promise<Finding> {
    const folder = dirname(path);
    for (let count = 0; count < maxNames; count += 1) {
      const target = join(folder, setAsideFile(basename(path), this.#clock.now(), count));
      if ((await kindOf(target)) !== 'missing') continue;
      await attempt('set aside', path, () => rename(path, target));
      if ((await attempt('inspect', target, () => lstat(target))).isFile()) {
        await tightenFile(target);
      }
      await syncDirectory(folder);
      return { kind: 'pair-set-aside', path, detail: `${reason}; kept as ${basename(target)}` };
    }
    throw new AgentError('STORE_IO', `cannot set aside ${path}: all names for it exist`);
  }

  /**
   * Marks a key pair as rolled back with a second name, a hard link, and returns that name.
   * Fails on file systems without hard links.
   */
  async markRolledBack(file: string): Promise<string> {
    for (let count = 0; count < maxNames; count += 1) {
      const name = rolledBackFile(file, this.#clock.now(), count);
      if ((await kindOf(this.path(name))) !== 'missing') continue;
      await attempt('link', this.path(file), () => link(this.path(file), this.path(name)));
      await syncDirectory(this.directory);
      return name;
    }
    throw new AgentError('STORE_IO', `cannot mark ${file} as rolled back: all names for it exist`);
  }

  /** Removes the second name of a key pair, and ignores a failure. */
  async unmark(name: string): Promise<void> {
    await unlink(this.path(name)).catch(() => {});
  }

  /** The first names of key pairs that were rolled back. */
  async rolledBackFiles(): Promise<string[]> {
    const entries = await this.#entries();
    return entries.flatMap(({ name }) => rolledBackPair(this.name, name) ?? []);
  }

  /** Files of this name that were set aside, the latest first. */
  async setAsideFiles(): Promise<string[]> {
    const entries = (await this.#entries()).filter((entry) => entry.isFile());
    return entries
      .map(({ name }) => ({ name, moment: setAsideMoment(this.name, name) ?? '' }))
      .filter(({ moment }) => moment !== '')
      .sort((a, b) => (a.moment < b.moment ? 1 : -1))
      .map(({ name }) => name);
  }

  /**
   * Real paths of files that are the target of a link in the directory. They are in use, no
   * matter how old.
   */
  async linkedFiles(): Promise<Set<string>> {
    const linked = new Set<string>();
    for (const { name } of (await this.#entries()).filter((entry) => entry.isSymbolicLink())) {
      const target = await this.realPath(this.path(name));
      if (target !== undefined) linked.add(target);
    }
    return linked;
  }

  /** The real path; undefined if the path or the target of its link does not exist. */
  async realPath(path: string): Promise<string | undefined> {
    return unlessMissing(() => attempt('resolve', path, () => realpath(path)));
  }

  /**
   * The lock keeps other agents out, and a kubelet creates at most one such name per second.
   */
  async #freePath(): Promise<string> {
    for (let count = 0; count < maxNames; count += 1) {
      const path = this.path(pairFile(this.name, this.#clock.now(), count));
      if ((await kindOf(path)) === 'missing') return path;
    }
    throw new AgentError(
      'STORE_IO',
      `cannot write a key pair to ${this.directory}: all names for it exist`,
    );
  }

  async #entries(): Promise<Dirent[]> {
    return attempt('list', this.directory, () => readdir(this.directory, { withFileTypes: true }));
  }
}

async function kindOf(path: string): Promise<'missing' | 'link' | 'other'> {
  const stat = await unlessMissing(() => attempt('inspect', path, () => lstat(path)));
  if (stat === undefined) return 'missing';
  return stat.isSymbolicLink() ? 'link' : 'other';
}

async function tightenFile(path: string): Promise<Finding[]> {
  const { mode } = await attempt('inspect', path, () => lstat(path));
  if ((mode & 0o177) === 0) return [];
  await attempt('change the mode of', path, () => chmod(path, ownerOnly));
  return [
    {
      kind: 'permissions-tightened',
      path,
      detail: `changed the mode of the file from ${showMode(mode)} to ${showMode(ownerOnly)}`,
    },
  ];
}

async function requireContent(path: string, content: Secret): Promise<void> {
  using stored = await readBoundedFile(path);
  if (Buffer.compare(stored.content.expose(), content.expose()) === 0) return;
  throw new AgentError('STORE_IO', `${path} does not contain the key pair that was written to it`, {
    remedy: `Check the disk of ${path} and the kernel log: journalctl -k`,
  });
}
