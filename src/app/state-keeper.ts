import type { HookRecords } from '../keeper/hook-journal.ts';
import type { OutstandingRequests } from '../keeper/request-journal.ts';
import type { BehindTimes } from '../keeper/trust-reissues.ts';
import { toFailure } from '../core/errors.ts';
import { minute } from '../core/instant.ts';
import { without } from '../core/without.ts';
import type { AgentState, CertificateRecord } from '../store/state-file.ts';
import { writeState } from '../store/state-file.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';

export interface StateKeeperOptions {
  readonly directory: string;
  readonly state: AgentState;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Keeps state.json up to date. Writes run one after the other and skip states that are
 * out of date. A failed write is logged and repeated every minute, and never blocks a
 * rotation: losing the count of requests is better than not rotating.
 */
export class StateKeeper implements AsyncDisposable {
  readonly #options: StateKeeperOptions;
  readonly #stop = new AbortController();
  #state: AgentState;
  #writing: Promise<void> = Promise.resolve();
  #dirty = false;
  /** Why the last write failed. */
  #failing: string | undefined;
  #repeating = false;

  constructor(options: StateKeeperOptions) {
    this.#options = options;
    this.#state = options.state;
  }

  /** The state to write. */
  get state(): AgentState {
    return this.#state;
  }

  /** Replaces every field of an earlier run except the certificates. */
  setRun(run: Omit<AgentState, 'certificates'>): void {
    const { certificates } = this.#state;
    this.#state = { ...run, certificates };
    this.#save();
  }

  setOutstanding(requests: OutstandingRequests): void {
    this.#setCertificates(
      Object.entries(requests).map(([name, outstanding]) => {
        return [name, { ...this.#state.certificates[name], outstanding }];
      }),
    );
  }

  setHooks(hooks: HookRecords): void {
    this.#setCertificates(
      Object.entries(hooks).map(([name, saved]) => {
        const { outstanding = [], behindSince } = this.#state.certificates[name] ?? {};
        return [name, { outstanding, ...saved, ...(behindSince !== undefined && { behindSince }) }];
      }),
    );
  }

  setBehind(times: BehindTimes): void {
    const names = new Set([...Object.keys(this.#state.certificates), ...Object.keys(times)]);
    this.#setCertificates(
      [...names].map((name) => {
        const known = this.#state.certificates[name] ?? { outstanding: [] };
        const since = times[name];
        const record = without(known, 'behindSince');
        return [name, since === undefined ? record : { ...record, behindSince: since }];
      }),
    );
  }

  /** Settles when everything is written, or after one more attempt. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#writing;
    if (this.#failing !== undefined) await this.#write();
  }

  #setCertificates(changed: readonly (readonly [string, CertificateRecord])[]): void {
    const certificates = { ...this.#state.certificates, ...Object.fromEntries(changed) };
    this.#state = { ...this.#state, certificates };
    this.#save();
  }

  #save(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    this.#dirty = false;
    const { directory: path, logger } = this.#options;
    try {
      await writeState(path, this.#state);
      if (this.#failing !== undefined) logger.log('state_writable', { path });
      this.#failing = undefined;
    } catch (error) {
      const { code, message, remedy } = toFailure(error);
      // Every change is written, so a lasting failure is logged only once.
      if (code !== this.#failing) {
        logger.log('state_unwritable', { path, code, error: message, remedy });
      }
      this.#failing = code;
      void this.#repeat();
    }
  }

  /** The next change may be a year away. After a restart before that change, finished requests would count as outstanding. */
  async #repeat(): Promise<void> {
    if (this.#repeating) return;
    this.#repeating = true;
    try {
      await this.#options.clock.sleep(minute, this.#stop.signal);
      this.#save();
    } catch {
      // Disposal writes once more.
    } finally {
      this.#repeating = false;
    }
  }
}
