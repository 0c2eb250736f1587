import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import type { ApproverNote } from './approver-note.ts';
import type { CsrStatus } from './csr-object.ts';
import { annotationsSchema, base64, instant, noted } from './csr-object.ts';
import type { ListPage } from './list-pages.ts';
import { listPages } from './list-pages.ts';
import type { KubeClient } from './rest-client.ts';

/** A CSR in a list, with its requestor and the time of its last condition. */
export interface ListedCsr {
  readonly name: string;
  readonly createdAt: Instant;
  readonly username: string;
  readonly signerName: string;
  /** PKCS #10 in PEM. */
  readonly request: Uint8Array<ArrayBuffer>;
  readonly status: CsrStatus;
  readonly note?: ApproverNote;
  /** The time of the last condition; absent without conditions. */
  readonly decidedAt?: Instant;
}

export interface CsrPages {
  readonly csrs: readonly ListedCsr[];
  /** The cluster has more CSRs than were read. */
  readonly truncated: boolean;
}

/** A CSR has a few kB, so a page stays well below the limit of a response. */
const pageSize = 250;
/** Enough for the pending CSRs of an unhealthy cluster with thousands of nodes. */
const maxPages = 20;

/**
 * Reads all CSRs of the cluster page by page and keeps those that `wanted` accepts.
 * @throws AgentError as KubeClient.request
 */
export async function listCsrs(
  client: KubeClient,
  wanted: (csr: ListedCsr) => boolean,
  signal: AbortSignal,
): Promise<CsrPages> {
  const csrs: ListedCsr[] = [];
  let pages = 0;
  for await (const { items, isLast } of csrPages({ client, signal })) {
    csrs.push(...items.filter(wanted));
    pages += 1;
    if (pages === maxPages && !isLast) return { csrs, truncated: true };
  }
  return { csrs, truncated: false };
}

/**
 * All CSRs of the cluster, page by page.
 * @throws AgentError as KubeClient.request
 */
export function csrPages({
  client,
  signal,
}: {
  readonly client: Pick<KubeClient, 'request'>;
  readonly signal: AbortSignal;
}): AsyncGenerator<ListPage<ListedCsr>, void> {
  return listPages({
    client: () => client,
    path: '/apis/certificates.k8s.io/v1/certificatesigningrequests',
    schema: itemSchema,
    limit: pageSize,
    signal,
  });
}

const text = v.nullish(v.string(), '');

const itemSchema = v.pipe(
  v.object({
    metadata: v.object({
      name: v.string(),
      creationTimestamp: instant,
      annotations: annotationsSchema,
    }),
    spec: v.object({ request: base64, signerName: v.string(), username: text }),
    status: v.nullish(
      v.object({
        conditions: v.nullish(
          v.array(
            v.object({
              type: v.string(),
              status: text,
              reason: text,
              message: text,
              lastUpdateTime: v.nullish(instant),
            }),
          ),
          [],
        ),
        certificate: v.nullish(base64),
      }),
      {},
    ),
  }),
  v.transform(({ metadata, spec, status }): ListedCsr => {
    const decided = status.conditions.flatMap(({ lastUpdateTime }) => lastUpdateTime ?? []);
    return {
      name: metadata.name,
      createdAt: metadata.creationTimestamp,
      ...spec,
      ...noted(metadata.annotations),
      status: {
        conditions: status.conditions,
        ...(status.certificate && { certificate: status.certificate }),
      },
      ...(decided.length > 0 && { decidedAt: Math.max(...decided) }),
    };
  }),
);
