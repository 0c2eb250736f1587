import type { Load } from './traffic.ts';
import type { Outcome, Scenario } from './scenario.ts';

/**
 * The steady limit: one request per node in 300 seconds, which is 333 per second for
 * 100,000 nodes, in any lasting state of the cluster. The leases of these nodes, with a
 * write every ten seconds, are thirty times as many. 56 requests per second are reads
 * of the Node's addresses every half an hour. A lower limit would delay nodes that wait
 * for approval: the time over which nodes spread their requests after a restart of the
 * API server is the time in which they do not notice an approval.
 */
export const steadyPerNode = 1 / 300;

/**
 * The requests of a bootstrap: a POST and a WATCH for each certificate, a GET and a
 * WATCH for the Node.
 */
const perBootstrap = 6;

/**
 * Requests come in pairs of POST and WATCH, so independent nodes give 2. The worst of
 * 1,600 minutes has 3.
 */
const mostDispersion = 4;

/** A run of `trust sync` has up to five requests. */
const mostDispersionWithTrust = 6;

/** Returns the broken promises with their figures. */
export function broken(scenario: Scenario, nodes: number, outcome: Outcome): readonly string[] {
  const { judged, load, lost, outstanding } = outcome;
  const steady = nodes * steadyPerNode;
  const found: string[] = [];
  const atMost = (what: string, value: number, limit: number): void => {
    if (value > limit) found.push(`${what} is ${value.toFixed(2)}, more than ${limit.toFixed(2)}`);
  };
  atMost('the number of requests outstanding per identity', outstanding, 1);
  if (scenario.fatal !== true) atMost('the number of certificates lost', lost, 0);
  atMost('the mean rate', judged.mean, steadyLimitOf(scenario, steady));
  atMost('the rate of the worst minute', judged.worstMinute, withChance(2 * steady, 60));
  atMost('the worst second', judged.peak, withChance(2 * steady, 1));
  if (scenario.ramp !== true) {
    const isTrustKept = scenario.plan.signerSwitch !== undefined;
    const most = isTrustKept ? mostDispersionWithTrust : mostDispersion;
    atMost('the dispersion of seconds', judged.dispersion, most);
  }
  if (scenario.running === undefined) {
    const rate = steady + (perBootstrap * nodes * 1_000) / scenario.startWithin;
    atMost('the rate of the worst minute of the bootstrap', load.worstMinute, withChance(rate, 60));
  }
  return found;
}

/** For an hour or two after a fault, and while a CA is replaced, the promise is twice the limit. */
function steadyLimitOf({ plan }: Scenario, steady: number): number {
  const hasFault = [plan.away, plan.authorityEnd, plan.signerSwitch].some(
    (fault) => fault !== undefined,
  );
  return hasFault ? 2 * steady : steady;
}

/**
 * The rate that pairs of requests exceed over these seconds with a probability of one
 * in a million.
 */
function withChance(rate: number, seconds: number): number {
  const expected = rate * seconds;
  // With few requests per second, the distribution has a longer tail than the normal
  // one.
  return (expected + 5 * Math.sqrt(2 * expected) + 10) / seconds;
}

export function describeLoad({ peak, worstMinute, mean }: Load): string {
  return `${peak}/${perSecond(worstMinute)}/${perSecond(mean)}`;
}

export function perSecond(rate: number): string {
  return rate >= 10 ? rate.toFixed(0) : rate.toFixed(rate >= 1 ? 1 : 2);
}
