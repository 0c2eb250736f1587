import { toFailure } from '../core/errors.ts';
import type { OutstandingRequests } from '../agent/request-journal.ts';
import type { AgentState } from '../store/state-file.ts';
import { writeState } from '../store/state-file.ts';
import type { Logger } from '../sys/log.ts';

/**
 * Keeps state.json equal to what the agent knows. Writes follow one another and
 * skip what was overtaken; a failed write is logged and never in anybody's way,
 * since losing count of requests is better than not rotating.
 */
export class StateKeeper implements AsyncDisposable {
  readonly #directory: string;
  readonly #logger: Logger;
  #state: AgentState;
  #writing: Promise<void> = Promise.resolve();
  #dirty = false;
  /** Why the last write failed. */
  #failing: string | undefined;

  constructor(directory: string, state: AgentState, logger: Logger) {
    this.#directory = directory;
    this.#state = state;
    this.#logger = logger;
  }

  update(change: Omit<Partial<AgentState>, 'certificates'>): void {
    this.#state = { ...this.#state, ...change };
    this.#save();
  }

  setOutstanding(requests: OutstandingRequests): void {
    const records = Object.entries(requests).map(([name, outstanding]) => [name, { outstanding }]);
    this.#state = { ...this.#state, certificates: Object.fromEntries(records) };
    this.#save();
  }

  /** Settles when everything is written. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
  }

  #save(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    this.#dirty = false;
    const path = this.#directory;
    try {
      await writeState(path, this.#state);
      if (this.#failing !== undefined) this.#logger.log('state_writable', { path });
      this.#failing = undefined;
    } catch (error) {
      const { code, message, remedy } = toFailure(error);
      // Each change of the state is written: said once for as long as it is the same.
      if (code !== this.#failing) {
        this.#logger.log('state_unwritable', { path, code, error: message, remedy });
      }
      this.#failing = code;
    }
  }
}
