import type { Failure } from '../core/errors.ts';
import type { Machine, MachineLookup, Unavailability } from './sources/machine-source.ts';

const notReadYet: Unavailability = {
  reason: 'the Machines have not been read yet',
  remedy: 'Wait until the approver has read the Machines',
};

/** The Machines of one cluster, by the Node that each has. */
export class MachineIndex implements MachineLookup {
  #unavailable: Unavailability | undefined = notReadYet;
  readonly #machines = new Map<string, Machine>();
  readonly #byNode = new Map<string, Set<string>>();

  get unavailable(): Unavailability | undefined {
    return this.#unavailable;
  }

  names(): Iterable<string> {
    return this.#machines.keys();
  }

  ofNode(name: string): readonly Machine[] {
    return [...(this.#byNode.get(name) ?? [])].flatMap((key) => this.#machines.get(key) ?? []);
  }

  /** All Machines are known. */
  complete(): void {
    this.#unavailable = undefined;
  }

  /** The Machines may be outdated from now on. */
  fail({ message, remedy = 'Make the API server with the Machines available' }: Failure): void {
    this.#unavailable = { reason: `the Machines cannot be read: ${message}`, remedy };
  }

  /** Returns the Nodes for which the Machine now answers something else. */
  put(machine: Machine): readonly string[] {
    const { name, nodeName } = machine;
    const previous = this.#machines.get(name);
    this.#machines.set(name, machine);
    if (previous !== undefined && withoutVersion(previous) === withoutVersion(machine)) return [];
    this.#drop(previous);
    if (nodeName !== '') {
      const names = this.#byNode.get(nodeName);
      if (names === undefined) this.#byNode.set(nodeName, new Set([name]));
      else names.add(name);
    }
    return nodesOf(previous, machine);
  }

  /** Returns the Nodes for which the Machine has answered. */
  remove(name: string): readonly string[] {
    const previous = this.#machines.get(name);
    this.#machines.delete(name);
    this.#drop(previous);
    return nodesOf(previous);
  }

  #drop(machine: Machine | undefined): void {
    if (machine === undefined) return;
    const names = this.#byNode.get(machine.nodeName);
    names?.delete(machine.name);
    if (names?.size === 0) this.#byNode.delete(machine.nodeName);
  }
}

/** Machines as they were at one moment. */
export function machineIndexOf(machines: readonly Machine[]): MachineIndex {
  const index = new MachineIndex();
  for (const machine of machines) index.put(machine);
  index.complete();
  return index;
}

/** For Machines that could not be read. */
export function unreadMachines(failure: Failure): MachineIndex {
  const index = new MachineIndex();
  index.fail(failure);
  return index;
}

/** Controllers write the conditions of a Machine often, which no check uses. */
function withoutVersion(machine: Machine): string {
  return JSON.stringify({ ...machine, resourceVersion: '' });
}

function nodesOf(...machines: readonly (Machine | undefined)[]): string[] {
  const names = machines.flatMap((machine) => machine?.nodeName ?? []);
  return [...new Set(names)].filter((name) => name !== '');
}
