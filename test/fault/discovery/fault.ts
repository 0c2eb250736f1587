import type { ErrorCode } from '../../../src/core/errors.ts';
import type { Exchange, FaultProxy } from '../../support/fault-proxy.ts';

/** The requests of a discovery: both reads of cluster-info, the test of the token, and the Node. */
export type Place = 'first' | 'second' | 'review' | 'node';

export interface DiscoveryFault {
  /** A name for operators. */
  readonly name: string;
  /** The requests that meet it; every connection when absent. */
  readonly places?: readonly Place[];
  readonly serve?: (exchange: Exchange) => Promise<void> | void;
  /** Faults of the connection instead. */
  readonly begin?: (proxy: FaultProxy) => Promise<void> | void;
  readonly end?: (proxy: FaultProxy) => Promise<void> | void;
  /** The command ends with this code; absent if the fault does not affect it. */
  readonly code?: ErrorCode;
  /** Whether the command tries again until its timeout, or only once, or ends at once. */
  readonly repeated?: 'always' | 'once';
  /** No request comes sooner after the first one, in seconds. */
  readonly asked?: number;
}

export function isClusterInfo({ path }: Pick<Exchange, 'path'>): boolean {
  return path.includes('/configmaps/cluster-info');
}

/**
 * Which request of a discovery this is. A request that meets the fault ends its attempt, and the next
 * one is a first one again.
 */
export function placeOf({ path }: Exchange, { seen }: FaultProxy): Place {
  if (path.includes('/nodes/')) return 'node';
  if (!isClusterInfo({ path })) return 'review';
  const afterFault = seen.slice(seen.findLastIndex(({ met }) => met) + 1);
  return afterFault.filter(isClusterInfo).length % 2 === 0 ? 'first' : 'second';
}
