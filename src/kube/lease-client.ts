import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { without } from '../core/without.ts';
import type { KubeClient } from './rest-client.ts';

/** What a Lease says, in the terms of client-go's leader election (LeaderElectionRecord). */
export interface LeaseRecord {
  /** Absent if the last holder has released the Lease. */
  readonly holder?: string;
  readonly durationSeconds: number;
  readonly acquireTime: Instant;
  /** The last renewal, or the release. */
  readonly renewTime: Instant;
  /** The number of changes from one holder to another. */
  readonly transitions: number;
}

/** A Lease as the API server stores it. */
export interface StoredLease extends LeaseRecord {
  /** As read. An update sends it back, because labels and annotations belong to other programs. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Changes with each write, so an update with an outdated one fails with API_CONFLICT. */
  readonly resourceVersion: string;
}

export interface LeaseName {
  readonly namespace: string;
  readonly name: string;
}

/** One Lease, read and written as a whole. */
export class LeaseClient {
  readonly #client: Pick<KubeClient, 'request'>;
  readonly #lease: LeaseName;
  readonly #path: string;

  constructor(client: Pick<KubeClient, 'request'>, lease: LeaseName) {
    this.#client = client;
    this.#lease = lease;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(lease.namespace)}/leases`;
  }

  /** Undefined if there is no such Lease. @throws AgentError API_* */
  async get(signal: AbortSignal): Promise<StoredLease | undefined> {
    try {
      const request = { verb: 'get', path: this.#ownPath, signal } as const;
      return await this.#client.request(request, leaseSchema);
    } catch (error) {
      if (hasCode(error, 'API_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** @throws AgentError API_CONFLICT if another client has created it; other API_* */
  create(record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    const body = this.#body(record, {});
    return this.#client.request({ verb: 'create', path: this.#path, body, signal }, leaseSchema);
  }

  /** @throws AgentError API_CONFLICT if another client has changed it; other API_* */
  update(
    { metadata, resourceVersion, ...record }: StoredLease,
    signal: AbortSignal,
  ): Promise<StoredLease> {
    const body = this.#body(record, { ...metadata, resourceVersion });
    return this.#client.request({ verb: 'update', path: this.#ownPath, body, signal }, leaseSchema);
  }

  get #ownPath(): string {
    return `${this.#path}/${encodeURIComponent(this.#lease.name)}`;
  }

  #body(record: LeaseRecord, metadata: Readonly<Record<string, unknown>>): unknown {
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...metadata, ...this.#lease },
      spec: {
        ...(record.holder !== undefined && { holderIdentity: record.holder }),
        leaseDurationSeconds: record.durationSeconds,
        acquireTime: microTime(record.acquireTime),
        renewTime: microTime(record.renewTime),
        leaseTransitions: record.transitions,
      },
    };
  }
}

/** The API server accepts only six digits after the second (apimachinery, meta/v1/micro_time.go). */
export function microTime(instant: Instant): string {
  return new Date(instant).toISOString().replace('Z', '000Z');
}

const time = v.pipe(
  v.string(),
  v.transform((text) => Date.parse(text)),
  v.check((instant) => !Number.isNaN(instant), 'expected a time'),
);

/** Any field may be missing, because everyone with the permission can write the Lease. */
const leaseSchema = v.pipe(
  v.object({
    metadata: v.looseObject({ resourceVersion: v.string() }),
    spec: v.nullish(
      v.object({
        holderIdentity: v.nullish(v.string(), ''),
        leaseDurationSeconds: v.nullish(v.number(), 0),
        acquireTime: v.nullish(time, '1970-01-01T00:00:00Z'),
        renewTime: v.nullish(time, '1970-01-01T00:00:00Z'),
        leaseTransitions: v.nullish(v.number(), 0),
      }),
      {},
    ),
  }),
  v.transform(({ metadata, spec }): StoredLease => ({
    // An update without managedFields keeps them, and they are longer than everything else.
    metadata: without(metadata, 'managedFields'),
    resourceVersion: metadata.resourceVersion,
    ...(spec.holderIdentity !== '' && { holder: spec.holderIdentity }),
    durationSeconds: spec.leaseDurationSeconds,
    acquireTime: spec.acquireTime,
    renewTime: spec.renewTime,
    transitions: spec.leaseTransitions,
  })),
);
