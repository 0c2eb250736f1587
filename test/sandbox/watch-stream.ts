import type { ServerResponse } from 'node:http';
import { minute, second } from '../../src/core/instant.ts';
import type { Clock } from '../../src/sys/clock.ts';
import { sleepUntil } from '../../src/sys/clock.ts';
import type { ApiObject, Resource } from './api-object.ts';
import { groupVersion } from './api-object.ts';
import type { ChangeEvent, ObjectStore } from './object-store.ts';
import { StatusError, statusOf } from './status-error.ts';

export interface WatchParameters {
  readonly name?: string;
  /** Start after this resourceVersion. 0 starts with the existing objects. */
  readonly resourceVersion: number;
  /** Send bookmarks with the resourceVersion once a minute and at the end. */
  readonly bookmarks: boolean;
  /** Begin with the existing objects and mark their end, for any resourceVersion. */
  readonly initialEvents: boolean;
  readonly timeoutSeconds: number;
}

/** Upstream chooses a random time of 30 to 60 minutes if the client sets none. */
const defaultTimeoutSeconds = 1800;

/** @throws StatusError BadRequest */
export function watchParameters(query: URLSearchParams, name: string | undefined): WatchParameters {
  return {
    ...(name !== undefined && { name }),
    resourceVersion: wholeNumber(query, 'resourceVersion') ?? 0,
    bookmarks: query.get('allowWatchBookmarks') === 'true',
    initialEvents: query.get('sendInitialEvents') === 'true',
    timeoutSeconds: wholeNumber(query, 'timeoutSeconds') || defaultTimeoutSeconds,
  };
}

export interface WatchStream<T extends ApiObject> {
  readonly store: ObjectStore<T>;
  readonly resource: Resource;
  readonly parameters: WatchParameters;
  readonly response: ServerResponse;
  readonly clock: Clock;
}

/** The unread bytes after which a client is disconnected, because they occupy memory. */
const mostUnread = 4 * 1024 * 1024;

/**
 * Streams changes as lines of JSON until the timeout, until the client disconnects or
 * the signal aborts. It starts to listen in the same step in which it sends the first
 * events, so that it misses no change.
 */
export async function streamWatch<T extends ApiObject>(
  stream: WatchStream<T>,
  signal: AbortSignal,
): Promise<void> {
  const { response, store } = stream;
  // The client has disconnected already, so the event 'close' will not come again.
  if (response.closed) return;
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  const gone = new AbortController();
  response.once('close', () => {
    gone.abort();
  });
  const stopListening = store.listen((event) => {
    sendChange(stream, event);
    if (response.writableLength > mostUnread) response.destroy();
  });
  try {
    sendStart(stream);
    await waitForEnd(stream, AbortSignal.any([signal, gone.signal]));
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    send(stream, 'ERROR', statusOf(error));
  } finally {
    stopListening();
    response.end();
  }
}

function sendStart<T extends ApiObject>(stream: WatchStream<T>): void {
  const { store, parameters } = stream;
  if (!parameters.initialEvents && parameters.resourceVersion > 0) {
    for (const event of store.since(parameters.resourceVersion)) sendChange(stream, event);
    return;
  }
  for (const object of store.list()) sendChange(stream, { type: 'ADDED', object });
  if (parameters.initialEvents && parameters.bookmarks) {
    sendBookmark(stream, { 'k8s.io/initial-events-end': 'true' });
  }
}

async function waitForEnd<T extends ApiObject>(
  stream: WatchStream<T>,
  signal: AbortSignal,
): Promise<void> {
  const { clock, parameters } = stream;
  const end = clock.now() + parameters.timeoutSeconds * second;
  try {
    for (let now = clock.now(); now < end; now = clock.now()) {
      await sleepUntil(clock, Math.min(end, now + minute), signal);
      if (parameters.bookmarks) sendBookmark(stream);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function sendChange<T extends ApiObject>(stream: WatchStream<T>, event: ChangeEvent<T>): void {
  const { name } = stream.parameters;
  if (name !== undefined && name !== event.object.metadata.name) return;
  send(stream, event.type, event.object);
}

function sendBookmark<T extends ApiObject>(
  stream: WatchStream<T>,
  annotations?: Readonly<Record<string, string>>,
): void {
  const { resource, store } = stream;
  send(stream, 'BOOKMARK', {
    kind: resource.kind,
    apiVersion: groupVersion(resource),
    metadata: {
      resourceVersion: String(store.revision),
      creationTimestamp: null,
      ...(annotations !== undefined && { annotations }),
    },
  });
}

function send(
  stream: Pick<WatchStream<ApiObject>, 'response'>,
  type: ChangeEvent['type'] | 'BOOKMARK' | 'ERROR',
  object: object,
): void {
  stream.response.write(`${JSON.stringify({ type, object })}\n`);
}

function wholeNumber(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key) ?? '';
  if (text === '') return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new StatusError('BadRequest', `${key}: Invalid value: ${JSON.stringify(text)}`);
}
