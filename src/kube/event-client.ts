import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import { microTime } from './lease-client.ts';
import type { KubeClient } from './rest-client.ts';

/** A reference to the object that an Event is about. */
export interface EventObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid?: string;
}

export interface EventInput {
  readonly type: 'Normal' | 'Warning';
  /** In CamelCase, for programs. */
  readonly reason: string;
  /** The verb of what was done. */
  readonly action: string;
  /** For people; at most 1 kB. */
  readonly note: string;
  readonly regarding: EventObject;
  readonly related?: EventObject;
  readonly time: Instant;
}

export interface EventSource {
  readonly controller: string;
  /** The name of this process. */
  readonly instance: string;
}

/** Events about objects without a namespace are in this one. */
const namespace = 'default';

/**
 * Creates an Event of events.k8s.io/v1.
 * @throws AgentError as KubeClient.request
 */
export async function createEvent(
  client: Pick<KubeClient, 'request'>,
  { source, event }: { readonly source: EventSource; readonly event: EventInput },
  signal: AbortSignal,
): Promise<void> {
  const { time, ...parts } = event;
  const body = {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { generateName: namePrefix(event.regarding), namespace },
    ...parts,
    eventTime: microTime(time),
    reportingController: source.controller,
    reportingInstance: source.instance.slice(0, 128),
  };
  const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
  await client.request({ verb: 'create', path, body, signal }, v.unknown());
}

/** The API server appends five characters, and a name has at most 253. */
function namePrefix({ name }: EventObject): string {
  return `${name.slice(0, 240).replace(/[^a-z0-9]+$/, '')}-`;
}
