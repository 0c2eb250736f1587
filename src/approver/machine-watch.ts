import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { reflectorDelay } from '../core/timing.ts';
import { aborted } from '../kube/deadline.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import { Reflector } from '../kube/reflector.ts';
import { machineCollection } from './machine-collection.ts';
import type { MachineIndex } from './machine-index.ts';
import { machineSchema } from './sources/machine-source.ts';
import { runTasks } from './tasks.ts';

export interface MachineWatchOptions {
  readonly environment: FollowEnvironment;
  readonly machines: MachineIndex;
  /** Called before each new attempt, to read the credential again. */
  readonly refresh: () => Promise<void>;
  /** Other answers are possible about these Nodes. Without Nodes, whether there are answers has changed. */
  readonly onChange: (nodes: Iterable<string>) => void;
  /** Called for each failure; the watch begins again. */
  readonly onRetry: (failure: Failure) => void;
  /** Called whenever all Machines have been read. */
  readonly onSynced: () => void;
}

/**
 * Keeps a copy of the Machines of one cluster. After a failure or a 410 the copy is unavailable
 * until all Machines have been read again: an outdated Machine could confirm an address that
 * another machine has by now.
 */
export class MachineWatch {
  readonly #options: MachineWatchOptions;
  #failures = 0;
  /** The Nodes of Machines that have changed since the copy was complete. */
  #changed: Set<string> | undefined;

  constructor(options: MachineWatchOptions) {
    this.#options = options;
  }

  /** Only the signal ends it. @throws AgentError ABORTED */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, random } = this.#options.environment;
    for (;;) {
      const failure = await this.#follow(signal);
      let delay = second;
      if (failure !== undefined) {
        this.#fail(failure);
        delay = reflectorDelay(this.#failures, failure.retryAfterMs ?? 0, random());
      }
      await clock.sleep(delay, signal);
    }
  }

  /** Ends with the first failure, or without one if the API server serves another version. */
  async #follow(signal: AbortSignal): Promise<Failure | undefined> {
    const { environment, refresh } = this.#options;
    const ended = new AbortController();
    let failure: Failure | undefined;
    try {
      await refresh();
      const path = await machineCollection(environment.client(), signal);
      this.#changed ??= new Set();
      const reflector = this.#reflector(path, (found) => {
        failure = found;
        ended.abort();
      });
      await runTasks(AbortSignal.any([signal, ended.signal]), [
        (inner) => reflector.run(inner),
        (inner) => this.#confirm(path, inner),
      ]);
    } catch (error) {
      failure ??= toFailure(error);
    }
    if (signal.aborted) throw aborted('watching machines', signal);
    // A client with a new credential replaced the closed one.
    return failure?.code === 'ABORTED' ? undefined : failure;
  }

  /** A watch of a server that is gone stays silent for minutes, so small requests find that out. */
  async #confirm(path: string, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options.environment;
    for (;;) {
      await clock.sleep(confirmInterval, signal);
      if ((await machineCollection(client(), signal)) !== path) {
        throw aborted(`watching ${path}`, signal);
      }
    }
  }

  #reflector(path: string, onRetry: (failure: Failure) => void) {
    const { environment, machines } = this.#options;
    return new Reflector(environment, {
      path,
      schema: machineSchema,
      reflection: {
        names: () => machines.names(),
        set: (machine) => {
          this.#report(machines.put(machine));
        },
        delete: (name) => {
          this.#report(machines.remove(name));
        },
        synced: () => {
          this.#sync();
        },
        outdated: () => {
          this.#outdated();
        },
      },
      onRetry,
      onRecovered: () => undefined,
    });
  }

  #report(nodes: readonly string[]): void {
    if (nodes.length === 0) return;
    if (this.#changed === undefined) this.#options.onChange(nodes);
    else for (const node of nodes) this.#changed.add(node);
  }

  #sync(): void {
    const { machines, onChange, onSynced } = this.#options;
    const changed = this.#changed ?? [];
    this.#changed = undefined;
    this.#failures = 0;
    machines.complete();
    onSynced();
    onChange(changed);
  }

  /** After a 410 the reflector reads all Machines again; other failures end it. */
  #outdated(): void {
    const { machines, onChange } = this.#options;
    if (machines.unavailable !== undefined) return;
    this.#changed ??= new Set();
    machines.outdated();
    onChange([]);
  }

  #fail(failure: Failure): void {
    const { machines, onChange, onRetry } = this.#options;
    this.#failures += 1;
    machines.fail(failure);
    onRetry(failure);
    onChange([]);
  }
}

const confirmInterval = 30 * second;
