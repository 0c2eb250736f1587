import { day, hour, minute } from '../../../src/core/instant.ts';
import type { Scenario } from './scenario.ts';

const start = Date.UTC(2026, 0, 1);
const year = 365 * day;
const span = (length: number) => ({ from: start, to: start + length });

const runningFleet = { startWithin: 30 * minute, running: {}, lookUps: 'played' } as const;

export const massBootstrap: Scenario = {
  name: 'mass bootstrap in ten minutes',
  plan: { span: span(2.5 * hour), lifetime: year },
  startWithin: 10 * minute,
  lookUps: 'played',
  judged: { from: start + 12 * minute, to: start + 2.5 * hour },
};

export const steadyYear: Scenario = {
  name: 'a year after it',
  plan: { span: span(year + 12 * minute), lifetime: year },
  startWithin: 10 * minute,
  lookUps: 'added',
  judged: { from: start + 12 * minute, to: start + year + 12 * minute },
};

export const outage: Scenario = {
  ...runningFleet,
  name: 'API server away for an hour, certificates of a day',
  plan: {
    span: span(3.5 * hour),
    lifetime: day,
    away: { from: start + 1.5 * hour, to: start + 2.5 * hour },
  },
  judged: { from: start + 2.5 * hour, to: start + 3.5 * hour },
};

export const noApprover: Scenario = {
  name: 'no approver for serving certificates for 26 h, two restarts of the API server',
  plan: {
    span: span(28 * hour),
    lifetime: year,
    restarts: [start + hour, start + 12 * hour],
    noApprover: {
      from: start,
      to: start + 26 * hour,
      profiles: ['kubelet-serving'],
      backlogRate: 500,
    },
  },
  startWithin: 10 * minute,
  lookUps: 'added',
  judged: { from: start + 30 * minute, to: start + 28 * hour },
};

export const noSigner: Scenario = {
  ...runningFleet,
  name: 'no signer for a day, certificates of a month',
  lookUps: 'added',
  plan: {
    span: span(27 * hour),
    lifetime: 30 * day,
    noSigner: {
      from: start + hour,
      to: start + 25 * hour,
      profiles: ['kubelet-client', 'kubelet-serving'],
      backlogRate: 500,
    },
  },
  judged: { from: start + hour, to: start + 27 * hour },
};

/** The CA ends six hours after the start, and limits certificates. */
const ahead = 6 * hour;
const authorityEnd = start + ahead;

function remaining(random: () => number): number {
  // So that the deadline has not passed at the start.
  return ahead * (1 + 2 * random());
}

export const authorityReplaced: Scenario = {
  ...runningFleet,
  name: 'CA near its end, replaced 90 minutes before',
  lookUps: 'added',
  running: { remaining },
  plan: {
    span: span(ahead + hour),
    lifetime: year,
    authorityEnd: (now) => (now < authorityEnd - 90 * minute ? authorityEnd : Infinity),
  },
  judged: { from: start + hour, to: start + ahead + hour },
};

export const authorityEnds: Scenario = {
  ...authorityReplaced,
  name: 'CA at its end, not replaced',
  fatal: true,
  plan: { span: span(ahead), lifetime: year, authorityEnd: () => authorityEnd },
  judged: { from: start + hour, to: start + ahead },
};

/** Each agent checks its trust every ten minutes, and spreads its requests over an hour. */
export const signerSwitched: Scenario = {
  ...runningFleet,
  name: 'the signer changes to a new CA',
  lookUps: 'added',
  plan: { span: span(4 * hour), lifetime: year, signerSwitch: start + hour },
  judged: { from: start + hour, to: start + 4 * hour },
};

/** Each agent notices within a minute. A kubelet does not notice until its pair has expired. */
export const clocksSetBack: Scenario = {
  ...runningFleet,
  name: 'clocks of the cluster were five years ahead, and are set back',
  startWithin: minute,
  lookUps: 'added',
  running: { ahead: 5 * year },
  ramp: true,
  plan: { span: span(2 * hour), lifetime: year },
  judged: { from: start, to: start + 2 * hour },
};

export const scenarios: readonly Scenario[] = [
  massBootstrap,
  steadyYear,
  outage,
  noApprover,
  noSigner,
  authorityReplaced,
  authorityEnds,
  signerSwitched,
  clocksSetBack,
];
