import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { KubeClient } from './rest-client.ts';

export interface ListOptions<T> {
  /** Called for each page, so that the list continues with a new identity. */
  readonly client: () => Pick<KubeClient, 'request'>;
  /** The path of the collection. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly schema: v.GenericSchema<unknown, T>;
  /** The most objects of a page. */
  readonly limit: number;
  /** The longest page; the limit of the client if absent. */
  readonly bodyBytes?: number;
  readonly signal: AbortSignal;
}

export interface ListPage<T> {
  readonly resourceVersion: string;
  readonly items: readonly T[];
  readonly isLast: boolean;
}

/**
 * Reads a collection page by page. A page may be too long for one response, because anyone who may
 * create objects may create long ones. Shorter pages are requested then, for a while.
 * @throws AgentError as KubeClient.request
 */
export async function* listPages<T>(options: ListOptions<T>): AsyncGenerator<ListPage<T>, void> {
  const { client, path, query, schema, limit: most, bodyBytes, signal } = options;
  const pageSchema = v.object({
    metadata: v.object({ resourceVersion: text, continue: text }),
    items: v.nullish(v.array(schema), []),
  });
  let limit = most;
  let next: string | undefined;
  while (next !== '') {
    const page = {
      ...query,
      limit: String(limit),
      ...(next !== undefined && { continue: next }),
    };
    const size = bodyBytes === undefined ? {} : { bodyBytes };
    try {
      const request = { verb: 'list', path, query: page, ...size, signal } as const;
      const { metadata, items } = await client().request(request, pageSchema);
      next = metadata.continue;
      limit = Math.min(2 * limit, most);
      yield { resourceVersion: metadata.resourceVersion, items, isLast: next === '' };
    } catch (error) {
      if (!hasCode(error, 'API_BAD_RESPONSE') || limit === 1) throw error;
      limit = Math.ceil(limit / 8);
    }
  }
}

const text = v.nullish(v.string(), '');
