import type { ErrorCode } from '../../../src/core/errors.ts';
import type { ApproverPlane, Replica } from '../../support/approver-plane.ts';
import type { FaultProxy, ProxyFault } from '../../support/fault-proxy.ts';

/** The parts of one trial. */
export interface Stage {
  readonly cluster: ApproverPlane;
  readonly proxy: FaultProxy;
  readonly approver: Replica;
  /** Unique among the trials. */
  readonly name: string;
}

export interface ApproverFault {
  /** A name for operators. */
  readonly name: string;
  /** What the proxy does to requests; the trial forwards all others. */
  readonly proxied?: ProxyFault;
  /** The proxy leaves the network instead. */
  readonly unreachable?: 'refuses' | 'mute';
  /** The fault is there before the approver starts. */
  readonly atStart?: boolean;
  /** How many requests must meet it before it ends; 1 when absent. */
  readonly meets?: number;
  /** How long it lasts at least, in seconds, and longer in `make fault`. */
  readonly seconds?: number;
  /** The log must name one of these; empty if the approver is not affected. */
  readonly codes: readonly ErrorCode[];
  /** No request comes sooner after the first ones, in seconds. */
  readonly asked?: number;
  /** The clock of the approver runs faster by this factor. */
  readonly haste?: number;
  /** For `make fault` only, because it takes long. */
  readonly slow?: boolean;
  /** Runs while the fault lasts. Rejects if the approver does something wrong. */
  readonly meanwhile?: (stage: Stage) => Promise<void>;
  /** Runs after the fault. */
  readonly afterwards?: (stage: Stage) => Promise<void>;
}
