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
 * The agent's hold on its certificate directory. A lock goes with the file that it is
 * on: when the directory is removed and made again, it guards nothing any more, and has
 * to be taken anew before somebody else does.
 */
export class DirectoryHold implements AsyncDisposable {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** By the clock that nobody sets. */
  #missingSince: number | undefined;
  #lock: DirectoryLock | undefined;
  /** Why the directory could not be locked, as last said. */
  #unavailable: string | undefined;

  private constructor({ directory, logger, clock }: HoldOptions, lock: DirectoryLock) {
    this.#directory = directory;
    this.#logger = logger;
    this.#clock = clock;
    this.#lock = lock;
    this.#say(lock.reason);
  }

  /** @throws AgentError as lockDirectory */
  static async take(options: HoldOptions): Promise<DirectoryHold> {
    return new DirectoryHold(options, await lockDirectory(options.directory));
  }

  /** Called at even intervals. @throws AgentError STORE_LOCKED when another agent was quicker */
  async renew(): Promise<void> {
    if (!(await this.#isLost())) return;
    try {
      const old = this.#lock;
      this.#lock = await lockDirectory(this.#directory);
      await old?.[Symbol.asyncDispose]();
      this.#say(this.#lock.reason);
      if (this.#lock.locked) this.#logger.log('lock_renewed', { path: this.#directory });
    } catch (error) {
      if (hasCode(error, 'STORE_LOCKED')) throw error;
      // A directory that cannot be written to is for the rotations to report.
      this.#say(toFailure(error).message);
    }
  }

  /** A file that is missing may be one of many that are being removed: who does that is left a moment for the directory. */
  async #isLost(): Promise<boolean> {
    const standing = await this.#lock?.standing();
    if (standing !== 'file-missing') this.#missingSince = undefined;
    if (standing === 'guards') return false;
    if (standing !== 'file-missing') return true;
    const now = this.#clock.elapsed();
    this.#missingSince ??= now;
    return now - this.#missingSince >= second;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock?.[Symbol.asyncDispose]();
  }

  #say(reason: string | undefined): void {
    if (reason !== undefined && reason !== this.#unavailable) {
      this.#logger.log('lock_unavailable', { error: reason });
    }
    this.#unavailable = reason;
  }
}
