import * as v from 'valibot';
import type { NodeAddress } from '../../core/enroller-protocol.ts';
import { altNameKey, formatAltName, keysOfAddresses } from '../alt-name.ts';
import type { Source, SourceAnswer } from '../facts.ts';
import type { NodeSnapshot } from '../node-snapshot.ts';

/** The fields of a Machine (cluster.x-k8s.io) that the source uses. */
export interface Machine {
  /** With its namespace: `default/machine-1`. */
  readonly name: string;
  readonly resourceVersion: string;
  /** Empty until the Machine has a Node. */
  readonly nodeName: string;
  readonly providerId: string;
  readonly addresses: readonly NodeAddress[];
}

const text = v.nullish(v.string(), '');

/** The same in every version of the API since v1alpha3. */
export const machineSchema = v.pipe(
  v.object({
    metadata: v.object({ name: v.string(), namespace: text, resourceVersion: v.string() }),
    spec: v.nullish(v.object({ providerID: text }), {}),
    status: v.nullish(
      v.object({
        nodeRef: v.nullish(v.object({ name: text }), {}),
        addresses: v.nullish(v.array(v.object({ type: text, address: text })), []),
      }),
      {},
    ),
  }),
  v.transform(({ metadata, spec, status }): Machine => ({
    name: `${metadata.namespace}/${metadata.name}`,
    resourceVersion: metadata.resourceVersion,
    nodeName: status.nodeRef.name,
    providerId: spec.providerID,
    addresses: status.addresses,
  })),
);

export interface Unavailability {
  readonly reason: string;
  /** An imperative. */
  readonly remedy: string;
}

export interface MachineLookup {
  /** Undefined while all Machines are known. */
  readonly unavailable: Unavailability | undefined;
  /** The Machines whose nodeRef names this Node. */
  ofNode(name: string): readonly Machine[];
}

/** A node cannot change its Machine, so a Machine confirms what the Node says about itself. */
export function machineSource(machines: MachineLookup): Source {
  return {
    name: 'machine',
    versionOf: (nodeName) => {
      if (machines.unavailable !== undefined) return 'unavailable';
      const found = machines.ofNode(nodeName);
      return (
        found.map((machine) => `${machine.name}@${machine.resourceVersion}`).join(',') || 'none'
      );
    },
    judge: (node, altNames) => {
      const { unavailable } = machines;
      if (unavailable !== undefined) return { kind: 'unavailable', ...unavailable };
      const found = machines.ofNode(node.name);
      const [machine] = found;
      if (machine === undefined) return disagrees(`no Machine has a nodeRef to ${node.name}`);
      if (found.length > 1) {
        const names = found.map(({ name }) => name).join(', ');
        return disagrees(`the Machines ${names} have a nodeRef to ${node.name}`);
      }
      const wrong = providerProblem(machine, node);
      if (wrong !== undefined) return disagrees(wrong);
      const keys = keysOfAddresses(machine.addresses);
      const foreign = altNames.find((altName) => !keys.has(altNameKey(altName)));
      if (foreign === undefined) return { kind: 'agrees' };
      return disagrees(
        `the Machine ${machine.name} does not have the address ${formatAltName(foreign)}`,
      );
    },
  };
}

function disagrees(reason: string): SourceAnswer {
  return { kind: 'disagrees', reason };
}

function providerProblem(machine: Machine, node: NodeSnapshot): string | undefined {
  if (machine.providerId !== '' && machine.providerId === node.providerId) return undefined;
  return `the Machine ${machine.name} has the providerID ${machine.providerId || 'none'}, and the Node has ${node.providerId || 'none'}`;
}
