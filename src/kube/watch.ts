import * as v from 'valibot';
import { second } from '../core/instant.ts';
import { badResponse, parseJson, splitLines } from './body.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { KubeClient } from './rest-client.ts';
import { parseAnswer } from './rest-client.ts';
import { statusError, statusSchema } from './status-error.ts';

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  /** Nothing changed up to this version: where the next watch may begin. */
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface WatchRequest<T> {
  /** Of the collection: `/apis/certificates.k8s.io/v1/certificatesigningrequests`. */
  readonly path: string;
  /** The one object that is watched. */
  readonly name: string;
  /** What is known already; events after it are sent. */
  readonly resourceVersion: string;
  /** When the server is to end the watch; chance belongs to the caller. */
  readonly timeoutSeconds: number;
  readonly schema: v.GenericSchema<unknown, T>;
  readonly signal: AbortSignal;
}

/**
 * What happens to one object from a version on. Ends when the server ends it.
 * @throws AgentError API_GONE when the server has forgotten that version, API_TIMEOUT when
 *   the connection outlives the end that was asked for (a dead peer sends no end), else as
 *   KubeClient.request
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
    yield parseEvent(parseAnswer(eventSchema, parseJson(line, what), what), {
      schema: request.schema,
      what,
      path: request.path,
      access: client.access,
    });
  }
}

/** Seconds that the server may be late with its end. */
const grace = 30;

/** etcd holds objects of 1.5 MiB; those that are watched here have a few kB. */
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
    const { metadata } = parseAnswer(bookmarkSchema, object, what);
    return { type, resourceVersion: metadata.resourceVersion };
  }
  return { type, object: parseAnswer(schema, object, what) };
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
