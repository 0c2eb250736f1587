import { hasCode, toFailure } from '../core/errors.ts';
import { lockDirectory } from '../store/directory-lock.ts';
import type { DirectoryLock } from '../store/directory-lock.ts';
import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

export interface HoldOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The agent's lock on its certificate directory. The lock belongs to the lock file: if the
 * directory is removed and recreated, the old lock protects nothing and must be taken
 * again before another agent takes it.
 */
export class DirectoryHold implements AsyncDisposable {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** On the monotonic clock. */
  #missingSince: number | undefined;
  #lock: DirectoryLock | undefined;
  /** Why the directory could not be locked, as last logged. */
  #unavailable: string | undefined;

  private constructor({ directory, logger, clock }: HoldOptions, lock: DirectoryLock) {
    this.#directory = directory;
    this.#logger = logger;
    this.#clock = clock;
    this.#lock = lock;
    this.#logUnavailable(lock.reason);
  }

  /** @throws AgentError as lockDirectory */
  static async take(options: HoldOptions): Promise<DirectoryHold> {
    return new DirectoryHold(options, await lockDirectory(options.directory));
  }

  /** Called at regular intervals. @throws AgentError STORE_LOCKED if another agent took the lock */
  async renew(): Promise<void> {
    if (!(await this.#isLost())) return;
    try {
      const old = this.#lock;
      this.#lock = await lockDirectory(this.#directory);
      await old?.[Symbol.asyncDispose]();
      this.#logUnavailable(this.#lock.reason);
      if (this.#lock.locked) this.#logger.log('lock_renewed', { path: this.#directory });
    } catch (error) {
      if (hasCode(error, 'STORE_LOCKED')) throw error;
      // The rotations report a directory that cannot be written.
      this.#logUnavailable(toFailure(error).message);
    }
  }

  /** A missing lock file may mean that someone is removing the whole directory, so recreating it waits a second. */
  async #isLost(): Promise<boolean> {
    const standing = await this.#lock?.state();
    if (standing !== 'file-missing') this.#missingSince = undefined;
    if (standing === 'effective') return false;
    if (standing !== 'file-missing') return true;
    const now = this.#clock.elapsed();
    this.#missingSince ??= now;
    return now - this.#missingSince >= second;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock?.[Symbol.asyncDispose]();
  }

  #logUnavailable(reason: string | undefined): void {
    if (reason !== undefined && reason !== this.#unavailable) {
      this.#logger.log('lock_unavailable', { error: reason });
    }
    this.#unavailable = reason;
  }
}
