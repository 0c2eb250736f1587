import { AgentError } from '../../core/errors.ts';
import { formatDuration, minute, second } from '../../core/instant.ts';
import type { AggregatedApi } from '../../kube/aggregated-apis.ts';
import type { ClusterAccess } from '../../kube/cluster-access.ts';
import type { Clock } from '../../sys/clock.ts';
import type { RolloverNode } from './node-files.ts';

/** What the checks of a step need. */
export interface CheckContext {
  readonly node: RolloverNode;
  readonly clock: Clock;
  readonly version: string;
  /** With `finish`: nodes that were absent all the time can return. */
  readonly keepsAbsentNodes?: boolean;
  /** The folder with certificates from the new CA, if its key is not on this node. */
  readonly importFrom?: string;
  /** For the CA `front-proxy`. Absent where no step runs. */
  readonly aggregation?: Aggregation;
}

/** What has to answer through kube-apiserver of this node. */
export interface Aggregation {
  /** The credential of an administrator. */
  readonly access: ClusterAccess;
  readonly apis: readonly Pick<AggregatedApi, 'name' | 'path'>[];
}

/** Components reload a file in about a second, and compare it every minute if they miss the event. */
const timeLimit = 2 * minute;
const interval = second / 4;

/** Waits until there is no fault. @throws AgentError with the fault after two minutes; ABORTED */
export async function waitUntilFine(
  { clock }: Pick<CheckContext, 'clock'>,
  signal: AbortSignal,
  {
    code,
    log,
    faultNow,
  }: {
    readonly code: 'CERT_UNTRUSTED' | 'SERVED_STALE';
    /** The command that shows the log of the component. */
    readonly log: string;
    /** Undefined if there is no fault. */
    readonly faultNow: () => Promise<string | undefined>;
  },
): Promise<void> {
  const start = clock.elapsed();
  for (;;) {
    const fault = await faultNow();
    if (fault === undefined) return;
    if (clock.elapsed() - start >= timeLimit) {
      throw new AgentError(code, `${fault}, ${formatDuration(timeLimit)} after the files changed`, {
        remedy: `Find the reason in the log, and then run this command again: ${log}`,
      });
    }
    await clock.sleep(interval, signal);
  }
}
