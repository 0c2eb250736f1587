import type { HookedPair } from '../core/hooks.ts';
import type { HookTarget } from './hook-runner.ts';
import type { PostRotation, PostRotationOptions } from './post-rotation.ts';

/** What one configuration needs. */
export interface Work {
  /** The configuration file, whose permissions the hooks require. */
  readonly file: string | undefined;
  readonly target: HookTarget;
  /** What the hooks that an earlier run of the agent did not complete are about. */
  readonly pending: (serial: string) => HookedPair;
  readonly repeat: (signals: WorkSignals) => Promise<void>;
}

export interface WorkSignals {
  /** Aborted by the next configuration and by the shutdown: ends the wait for the next command. */
  readonly over: AbortSignal;
  /** Aborted by the shutdown alone: ends the running command. */
  readonly stop: AbortSignal;
}

/**
 * Repeats a command and runs its hooks. A new configuration takes over when the running command has
 * ended. Only the shutdown of the agent waits for the command.
 */
export class ConfiguredWork {
  readonly #options: Omit<PostRotationOptions, 'file' | 'targets'>;
  readonly #stop = new AbortController();
  #replaced = new AbortController();
  #working: Promise<void> = Promise.resolve();
  #hooks: PostRotation | undefined;

  constructor(options: Omit<PostRotationOptions, 'file' | 'targets'>) {
    this.#options = options;
  }

  /** Undefined without hooks. */
  get hooks(): PostRotation | undefined {
    return this.#hooks;
  }

  /** Ends the wait of the previous work, but not its running command. */
  replace(work: Work | undefined): void {
    this.#replaced.abort();
    this.#replaced = new AbortController();
    if (work === undefined) return;
    const { signal } = this.#replaced;
    this.#working = this.#working.then(() => this.#run(work, signal));
  }

  /** The running command restores what it has not finished, and reports the rest. */
  async stop(): Promise<void> {
    this.#stop.abort();
    // Hooks of a change that is reported from now on stay pending until the next start.
    await this.#hooks?.stop();
    await this.#working;
  }

  async #run(work: Work, replaced: AbortSignal): Promise<void> {
    const { signal: stop } = this.#stop;
    if (stop.aborted) return;
    this.#hooks = await this.#openHooks(work);
    await work.repeat({ over: AbortSignal.any([replaced, stop]), stop });
    await this.#hooks?.stop();
  }

  /** Runs the hooks that an earlier run of the agent did not complete. */
  async #openHooks({ file, target, pending }: Work): Promise<PostRotation | undefined> {
    if (target.hooks.length === 0) return undefined;
    const { PostRotation } = await import('./post-rotation.ts');
    const opened = await PostRotation.open({ ...this.#options, file, targets: [target] });
    const serial = this.#options.journal.pending(target.name);
    if (serial !== undefined) opened.found(target.name, pending(serial));
    return opened;
  }
}
