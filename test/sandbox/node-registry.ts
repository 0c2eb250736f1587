import * as v from 'valibot';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import type { Instant } from '../../src/core/instant.ts';
import type { Clock } from '../../src/sys/clock.ts';
import type { NodeObject } from './api-object.ts';
import { nodeResource } from './api-object.ts';
import { metadataSchema, newMetadata, parseBody, updatedMetadata } from './object-meta.ts';
import type { ObjectStore } from './object-store.ts';
import type { Registry } from './registry.ts';

const fields = v.optional(
  v.looseObject({
    addresses: v.exactOptional(v.array(v.object({ type: v.string(), address: v.string() }))),
  }),
  {},
);

const bodySchema = v.object({
  metadata: metadataSchema,
  spec: v.optional(v.record(v.string(), v.unknown()), {}),
  status: fields,
});

export type NodeBody = v.InferOutput<typeof bodySchema>;

/** @throws StatusError BadRequest if a field has the wrong type */
export function parseNodeBody(body: unknown): NodeBody {
  return parseBody(bodySchema, body, nodeResource);
}

/** The collection of Nodes, with its rules for writes. */
export function nodeRegistry(store: ObjectStore<NodeObject>, clock: Clock): Registry<NodeObject> {
  return {
    resource: nodeResource,
    store,
    create: async (body) => newNode(parseNodeBody(body), clock.now()),
    update: (current, body, subresource) =>
      updatedNode({ current, body: parseNodeBody(body), subresource }),
  };
}

/** A new Node. Unlike a CSR, it may have a status, because a kubelet registers itself with one. */
export function newNode(body: NodeBody, now: Instant): NodeObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: newMetadata(body.metadata, nodeResource, now),
    spec: body.spec,
    status: body.status,
  };
}

export interface NodeUpdate {
  readonly current: NodeObject;
  readonly body: NodeBody;
  readonly subresource: string | undefined;
}

/**
 * Returns a Node after a write, which changes the status through its subresource and
 * otherwise the spec.
 * @throws StatusError Conflict
 */
export function updatedNode({ current, body, subresource }: NodeUpdate): NodeObject {
  const metadata = updatedMetadata(body.metadata, current.metadata, nodeResource);
  return subresource === 'status'
    ? { ...current, metadata, status: body.status }
    : { ...current, metadata, spec: body.spec };
}

/** The body that creates a Node with these addresses. */
export function newNodeBody(name: string, addresses: readonly NodeAddress[]): unknown {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name }, status: { addresses } };
}
