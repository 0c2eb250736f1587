import type { Failure } from '../core/errors.ts';
import type { NameSets } from './name-sets.ts';
import { addName, removeName } from './name-sets.ts';
import type { Machine, MachineLookup, Unavailability } from './sources/machine-source.ts';
import { differsInVersionOnly } from './versions.ts';

const notReadYet: Unavailability = {
  reason: 'the Machines have not been read yet',
  remedy: 'Wait until the approver has read the Machines',
};

const readAgain: Unavailability = {
  reason: 'the Machines are being read again, because changes may be missing',
  remedy: 'Wait until the approver has read the Machines',
};

/** The Machines of one cluster, by the Node that each has. */
export class MachineIndex implements MachineLookup {
  #unavailable: Unavailability | undefined = notReadYet;
  readonly #machines = new Map<string, Machine>();
  readonly #byNode: NameSets<string> = new Map();

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

  /** Changes may be missing, and all Machines are being read again. */
  outdated(): void {
    this.#unavailable ??= readAgain;
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
    // Controllers write the conditions of a Machine often, which no check uses.
    if (previous !== undefined && differsInVersionOnly(previous, machine)) return [];
    if (previous !== undefined) removeName(this.#byNode, previous.nodeName, name);
    if (nodeName !== '') addName(this.#byNode, nodeName, name);
    return nodesOf(previous, machine);
  }

  /** Returns the Nodes for which the Machine has answered. */
  remove(name: string): readonly string[] {
    const previous = this.#machines.get(name);
    this.#machines.delete(name);
    if (previous !== undefined) removeName(this.#byNode, previous.nodeName, name);
    return nodesOf(previous);
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

function nodesOf(...machines: readonly (Machine | undefined)[]): string[] {
  const names = machines.flatMap((machine) => machine?.nodeName ?? []);
  return [...new Set(names)].filter((name) => name !== '');
}
