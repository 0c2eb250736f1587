import { realpath } from 'node:fs/promises';
import { AgentError } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import type { Clock } from '../../sys/clock.ts';
import { defaultThreshold } from '../inventory/judge.ts';
import type { RenewalItem } from './renewal-item.ts';
import type { ServedEndpoint, ServedItem } from '../inventory/served.ts';
import { checkServed } from '../inventory/served.ts';

/** kube-apiserver reads its files once a minute, even if it misses a change of the folder. */
const timeout = 65 * second;
const interval = second / 2;

/** The result for one certificate file that endpoints of this node serve. */
export type ServedResult =
  | { readonly kind: 'current'; readonly endpoints: readonly string[] }
  /** Still the previous certificate, or no server. */
  | {
      readonly kind: 'unverified';
      readonly name: string;
      readonly reason: string;
      readonly remedy: string;
    };

export interface ServedCheck {
  /**
   * Waits until every endpoint that serves the file of this item serves the new certificate.
   * Undefined if no endpoint serves it.
   * @throws AgentError SERVED_STALE if an endpoint that worked before the renewal is now broken
   */
  check(item: RenewalItem): Promise<ServedResult | undefined>;
}

/** Dials the endpoints before the renewal, to tell a server that was down from one that broke. */
export async function startServedCheck({
  endpoints,
  clock,
  signal,
}: {
  readonly endpoints: readonly ServedEndpoint[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<ServedCheck> {
  const dial = (some: readonly ServedEndpoint[]): Promise<ServedItem[]> =>
    checkServed(some, { now: clock.now(), threshold: defaultThreshold, signal });
  const before = await dial(endpoints);
  const worked = new Set(before.filter(isReachable).map(({ name }) => name));
  return {
    check: async (item) => {
      const own = await endpointsOf(item, endpoints);
      if (own.length === 0) return undefined;
      const served = await dialUntilServed(() => dial(own), { worked, clock, signal });
      const outdated = served.find(({ verdict }) => verdict !== 'current');
      if (outdated === undefined)
        return { kind: 'current', endpoints: own.map(({ name }) => name) };
      if (worked.has(outdated.name) && !isReachable(outdated)) throw broken(outdated);
      const { name, reason = '', remedy = `Start ${name}` } = outdated;
      return { kind: 'unverified', name, reason, remedy };
    },
  };
}

/** Does not wait for a server that was down before. */
async function dialUntilServed(
  dial: () => Promise<ServedItem[]>,
  {
    worked,
    clock,
    signal,
  }: {
    readonly worked: ReadonlySet<string>;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<ServedItem[]> {
  const start = clock.elapsed();
  for (;;) {
    const served = await dial();
    const outdated = served.filter(
      ({ name, verdict }) => verdict !== 'current' && worked.has(name),
    );
    if (outdated.length === 0 || clock.elapsed() - start >= timeout) return served;
    await clock.sleep(interval, signal);
  }
}

async function endpointsOf(
  { target }: RenewalItem,
  endpoints: readonly ServedEndpoint[],
): Promise<ServedEndpoint[]> {
  if (target.kind === 'kubeconfig') return [];
  const files = await Promise.all(
    endpoints.map(async ({ certificateFile = '' }) =>
      realpath(certificateFile).catch(() => certificateFile),
    ),
  );
  return endpoints.filter((_, index) => files[index] === target.certificate.path);
}

function isReachable({ verdict }: ServedItem): boolean {
  return verdict !== 'unreachable';
}

function broken({ name, usedBy, reason = '' }: ServedItem): AgentError {
  const component = usedBy[0]?.component ?? name;
  return new AgentError(
    'SERVED_STALE',
    `${name} worked before the renewal, and does not serve the new certificate: ${reason}`,
    { remedy: `Read the log of ${component}, and renew again` },
  );
}
