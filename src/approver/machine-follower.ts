import type { ApproverSources } from '../core/approver-policy.ts';
import type { Failure } from '../core/errors.ts';
import { hour } from '../core/instant.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import type { Source } from './facts.ts';
import { MachineIndex } from './machine-index.ts';
import { MachineWatch } from './machine-watch.ts';
import { machineSource } from './sources/machine-source.ts';

/** A connection to the cluster that has the Machines. */
export interface MachineCluster extends AsyncDisposable {
  readonly environment: FollowEnvironment;
  /** Reads the credential again, and connects if there is no connection. @throws AgentError */
  refresh(): Promise<void>;
}

type MachineTarget = NonNullable<ApproverSources['machine']>;

export interface MachineFollowerOptions {
  /** Of the current policy; undefined without the source `machine`. */
  readonly target: () => MachineTarget | undefined;
  readonly connect: (target: MachineTarget) => MachineCluster;
  readonly clock: FollowEnvironment['clock'];
  /** See MachineWatchOptions. */
  readonly onChange: (nodes: Iterable<string>) => void;
  readonly onRetry: (target: MachineTarget, failure: Failure) => void;
  readonly onSynced: () => void;
}

/** Follows the Machines that the policy names, and others when the policy changes. */
export class MachineFollower {
  readonly #options: MachineFollowerOptions;
  readonly #settled = Promise.withResolvers<void>();
  #current: Following;

  constructor(options: MachineFollowerOptions) {
    this.#options = options;
    this.#current = new Following(options.target());
  }

  /** Undefined if the policy does not use Machines. */
  get source(): Source | undefined {
    return this.#current.source;
  }

  /** Resolves once the Machines have been read, or could not be read, or are not used. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Undefined if the policy does not use Machines. */
  get synced(): boolean | undefined {
    const { target, machines } = this.#current;
    return target === undefined ? undefined : machines.unavailable === undefined;
  }

  /** Why the Machines could not be read; undefined once they have been read. */
  get failure(): Failure | undefined {
    return this.#current.failure;
  }

  /** Call after each change of the policy. */
  retarget(): void {
    const target = this.#options.target();
    const { target: previous, stop } = this.#current;
    if (JSON.stringify(target) === JSON.stringify(previous)) return;
    this.#current = new Following(target);
    stop.abort();
  }

  /** Only the signal ends it. @throws AgentError ABORTED */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      const current = this.#current;
      try {
        await this.#follow(current, AbortSignal.any([signal, current.stop.signal]));
      } catch (error) {
        if (signal.aborted || !current.stop.signal.aborted) throw error;
      }
    }
  }

  async #follow(current: Following, signal: AbortSignal): Promise<never> {
    const { connect, clock, onChange, onRetry, onSynced } = this.#options;
    const { target, machines } = current;
    if (target === undefined) {
      this.#settled.resolve();
      for (;;) await clock.sleep(hour, signal);
    }
    await using cluster = connect(target);
    const watch = new MachineWatch({
      environment: cluster.environment,
      machines,
      refresh: () => cluster.refresh(),
      onChange,
      onRetry: (failure) => {
        current.failure = failure;
        this.#settled.resolve();
        onRetry(target, failure);
      },
      onSynced: () => {
        current.failure = undefined;
        this.#settled.resolve();
        onSynced();
      },
    });
    return await watch.run(signal);
  }
}

/** The Machines of one cluster, until the policy names another one. */
class Following {
  readonly target: MachineTarget | undefined;
  readonly machines = new MachineIndex();
  readonly source: Source | undefined;
  readonly stop = new AbortController();
  failure: Failure | undefined;

  constructor(target: MachineTarget | undefined) {
    this.target = target;
    this.source = target && machineSource(this.machines);
  }
}
