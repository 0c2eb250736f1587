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
  /** Read the columns that kubectl prints and the metadata, a tenth of a large object. */
  readonly asTable?: boolean;
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
  const { client, path, query, limit: most, bodyBytes, signal } = options;
  const pageSchema = pageOf(options);
  let limit = most;
  let next: string | undefined;
  while (next !== '') {
    const page = {
      ...query,
      limit: String(limit),
      ...(next !== undefined && { continue: next }),
    };
    const form = {
      ...(bodyBytes !== undefined && { bodyBytes }),
      ...(options.asTable === true && { accept: tableType }),
    };
    try {
      const request = { verb: 'list', path, query: page, ...form, signal } as const;
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
const metadata = v.object({ resourceVersion: text, continue: text });

interface Page<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue: string };
  readonly items: readonly T[];
}

function pageOf<T>({
  schema,
  asTable = false,
}: Pick<ListOptions<T>, 'schema' | 'asTable'>): v.GenericSchema<unknown, Page<T>> {
  const page = v.object({ metadata, items: v.nullish(v.array(schema), []) });
  return asTable ? v.pipe(v.unknown(), v.transform(itemsOfTable), page) : page;
}

const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io';

const tableSchema = v.object({
  metadata: v.unknown(),
  columnDefinitions: v.array(v.object({ name: v.string() })),
  rows: v.nullish(v.array(v.object({ cells: v.array(v.unknown()), object: v.unknown() })), []),
});

/** The rows of a meta/v1 Table as items, with the cells by the names of their columns. */
function itemsOfTable(response: unknown): unknown {
  const table = v.safeParse(tableSchema, response);
  if (!table.success) return undefined;
  const { metadata: head, columnDefinitions, rows } = table.output;
  const names = columnDefinitions.map(({ name }) => name);
  return {
    metadata: head,
    items: rows.map(({ cells, object }) => ({
      cells: Object.fromEntries(names.map((name, index) => [name, cells[index]])),
      object,
    })),
  };
}
