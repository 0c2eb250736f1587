import type { Load } from './traffic.ts';
import type { Outcome, Scenario } from './scenario.ts';

/**
 * The steady limit: one request per node in 300 seconds, 333 a second for 100,000
 * nodes, whatever state the cluster has been in for a while. The leases of the same
 * nodes, one write each ten seconds, are thirty times that. Of it, 56 a second are
 * looks at the Node's addresses each half an hour. A lower limit would have to be paid
 * by whoever waits for an approval: the time over which nodes come back after a restart
 * of the API server is the time in which they do not notice one.
 */
export const steadyPerNode = 1 / 300;

/** What a node takes to bootstrap: a POST and a WATCH for each certificate, a GET and a WATCH for its Node. */
const perBootstrap = 6;

/** Requests come in pairs, POST and WATCH, so that 2 is what chance gives; the worst of 1,600 minutes shows 3. */
const mostDispersion = 4;

/** What was promised and not kept, with the figures. */
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
    atMost('the dispersion of seconds', judged.dispersion, mostDispersion);
  }
  if (scenario.running === undefined) {
    const rate = steady + (perBootstrap * nodes * 1_000) / scenario.startWithin;
    atMost('the rate of the worst minute of the bootstrap', load.worstMinute, withChance(rate, 60));
  }
  return found;
}

/** For an hour or two after a fault, and at the end of a CA, twice the limit is the promise. */
function steadyLimitOf({ plan }: Scenario, steady: number): number {
  const disturbed = plan.away !== undefined || plan.authorityEnd !== undefined;
  return disturbed ? 2 * steady : steady;
}

/** The rate that requests in pairs reach over so many seconds once in a million times. */
function withChance(rate: number, seconds: number): number {
  const expected = rate * seconds;
  // A second of few requests has a longer tail than the normal distribution.
  return (expected + 5 * Math.sqrt(2 * expected) + 10) / seconds;
}

export function describeLoad({ peak, worstMinute, mean }: Load): string {
  return `${peak}/${perSecond(worstMinute)}/${perSecond(mean)}`;
}

export function perSecond(rate: number): string {
  return rate >= 10 ? rate.toFixed(0) : rate.toFixed(rate >= 1 ? 1 : 2);
}
