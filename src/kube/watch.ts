import * as v from 'valibot';
import { second } from '../core/instant.ts';
import { badResponse, parseJson, splitLines } from './body.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { KubeClient } from './rest-client.ts';
import { parseResponse } from './rest-client.ts';
import { statusError, statusSchema } from './status-error.ts';

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  /** Nothing changed up to this version, so the next watch may begin at this version. */
  | {
      readonly type: 'BOOKMARK';
      readonly resourceVersion: string;
      /** The server has sent all existing objects of a watch that began without a version. */
      readonly initialEventsEnd: boolean;
    };

export interface WatchRequest<T> {
  /** The path of the collection: `/apis/certificates.k8s.io/v1/certificatesigningrequests`. */
  readonly path: string;
  /** Limits the watch to some objects: `metadata.name=node-1`. */
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
  /** The server sends the events after this version. If absent, it sends all existing objects first (WatchList, since Kubernetes 1.34). */
  readonly resourceVersion?: string | undefined;
  /** The server ends the watch after this time. The caller adds randomness. */
  readonly timeoutSeconds: number;
  readonly schema: v.GenericSchema<unknown, T>;
  /** The longest event in bytes; 1 MiB if absent, because CSRs and Nodes usually have a few kB. */
  readonly eventBytes?: number;
  /** Called when the server accepts the watch; the first event may come minutes later. */
  readonly onOpen?: () => void;
  readonly signal: AbortSignal;
}

/**
 * The events of a collection. Ends when the server ends the watch.
 * @throws AgentError API_GONE when the server no longer has that version, API_TIMEOUT when the
 *   server does not end the watch in time (a dead peer cannot), else as KubeClient.request
 */
export async function* watch<T>(
  client: Pick<KubeClient, 'access' | 'stream'>,
  request: WatchRequest<T>,
): AsyncGenerator<WatchEvent<T>, void, void> {
  const what = `watch ${request.path}`;
  const chunks = client.stream({
    path: request.path,
    query: queryOf(request),
    limitMs: (request.timeoutSeconds + grace) * second,
    ...(request.onOpen !== undefined && { onOpen: request.onOpen }),
    signal: request.signal,
  });
  const limit = request.eventBytes ?? defaultEventBytes;
  for await (const line of splitLines(chunks, { limit, what: `an event of ${what}` })) {
    yield parseEvent(parseResponse(eventSchema, parseJson(line, what), what), {
      schema: request.schema,
      what,
      path: request.path,
      access: client.access,
    });
  }
}

function queryOf(request: WatchRequest<unknown>): Record<string, string> {
  const { fieldSelector, labelSelector, resourceVersion, timeoutSeconds } = request;
  return {
    watch: 'true',
    allowWatchBookmarks: 'true',
    ...(fieldSelector !== undefined && { fieldSelector }),
    ...(labelSelector !== undefined && { labelSelector }),
    ...(resourceVersion === undefined
      ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }
      : { resourceVersion }),
    timeoutSeconds: String(timeoutSeconds),
  };
}

/** The server may end the watch this many seconds late. */
const grace = 30;

const defaultEventBytes = 1024 * 1024;

const eventSchema = v.object({
  type: v.picklist(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: v.unknown(),
});

const bookmarkSchema = v.object({
  metadata: v.object({
    resourceVersion: v.string(),
    annotations: v.nullish(v.record(v.string(), v.string()), {}),
  }),
});

interface EventContext<T> {
  readonly schema: v.GenericSchema<unknown, T>;
  /** The verb and the path, for errors. */
  readonly what: string;
  readonly path: string;
  readonly access: ClusterAccess;
}

function parseEvent<T>(
  { type, object }: v.InferOutput<typeof eventSchema>,
  context: EventContext<T>,
): WatchEvent<T> {
  const { schema, what } = context;
  if (type === 'ERROR') throw eventError(object, context);
  if (type === 'BOOKMARK') {
    const { metadata } = parseResponse(bookmarkSchema, object, what);
    const initialEventsEnd = metadata.annotations['k8s.io/initial-events-end'] === 'true';
    return { type, resourceVersion: metadata.resourceVersion, initialEventsEnd };
  }
  return { type, object: parseResponse(schema, object, what) };
}

function eventError(
  object: unknown,
  { what, path, access }: Pick<EventContext<unknown>, 'what' | 'path' | 'access'>,
): Error {
  const status = v.safeParse(statusSchema, object);
  const code = status.success ? status.output.code : undefined;
  if (code === undefined) return badResponse(`${what}: an error event without a status code`);
  // Only a header can hold Retry-After as a date, so the time does not matter here.
  return statusError({ request: what, path, access, httpStatus: code, body: object, now: 0 });
}
