import type { Failure } from './errors.ts';
import type { Instant } from './instant.ts';

/** What metrics, probes and the service manager show of an approver. */
export interface ApproverStatus {
  /** This replica decides. Otherwise it waits for the Lease. */
  readonly isLeader: boolean;
  /** The holder of the Lease, as last seen. */
  readonly leader: string | undefined;
  /** True from the first complete read of a resource until its watch fails. */
  readonly synced: Readonly<Record<string, boolean>>;
  /** Pending CSRs by the reason why they wait; `Queued` before their first evaluation. */
  readonly pending: ReadonlyMap<string, number>;
  /** When the oldest pending CSR was created. */
  readonly oldestPending: Instant | undefined;
  readonly queueDepth: number;
  readonly policyDigest: string;
  /** Why resources cannot be read, by the names of `synced`. */
  readonly unread: ReadonlyMap<string, Failure>;
  /** The API server refuses a request about CSRs or Nodes that a pending CSR needs. */
  readonly forbidden: Failure | undefined;
  /** The last Event was not created. The approver works without Events. */
  readonly eventFailure: Failure | undefined;
  /** The last request for the Lease failed. */
  readonly leaseFailure: Failure | undefined;
  readonly now: Instant;
}
