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
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface WatchRequest<T> {
  /** The path of the collection: `/apis/certificates.k8s.io/v1/certificatesigningrequests`. */
  readonly path: string;
  /** The name of the watched object. */
  readonly name: string;
  /** The server sends the events after this version. */
  readonly resourceVersion: string;
  /** The server ends the watch after this time. The caller adds randomness. */
  readonly timeoutSeconds: number;
  readonly schema: v.GenericSchema<unknown, T>;
  readonly signal: AbortSignal;
}

/**
 * The events of one object after a version. Ends when the server ends the watch.
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
    query: {
      watch: 'true',
      allowWatchBookmarks: 'true',
      fieldSelector: `metadata.name=${request.name}`,
      resourceVersion: request.resourceVersion,
      timeoutSeconds: String(request.timeoutSeconds),
    },
    limitMs: (request.timeoutSeconds + grace) * second,
    signal: request.signal,
  });
  for await (const line of splitLines(chunks, { limit: lineLimit, what: `an event of ${what}` })) {
    yield parseEvent(parseResponse(eventSchema, parseJson(line, what), what), {
      schema: request.schema,
      what,
      path: request.path,
      access: client.access,
    });
  }
}

/** The server may end the watch this many seconds late. */
const grace = 30;

/** etcd stores objects up to 1.5 MiB; CSRs and Nodes have a few kB. */
const lineLimit = 1024 * 1024;

const eventSchema = v.object({
  type: v.picklist(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: v.unknown(),
});

const bookmarkSchema = v.object({ metadata: v.object({ resourceVersion: v.string() }) });

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
    return { type, resourceVersion: metadata.resourceVersion };
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
