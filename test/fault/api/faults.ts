import { setTimeout as delay } from 'node:timers/promises';
import { minute } from '../../../src/core/instant.ts';
import { answerFaults, connectionFaults } from './connection-faults.ts';
import { csrFaults, signerFaults } from './csr-faults.ts';
import type { ApiFault } from './fault.ts';
import { forgeries } from './forgeries.ts';
import { statusFaults } from './status-faults.ts';
import { watchFaults } from './watch-faults.ts';

/** A response that could make a client repeat its request at once. */
const provoking: ReadonlySet<string> = new Set([
  'connection refused',
  'reset mid-body',
  'garbage JSON',
  '401',
  '429',
  '503',
  'watch that ends at once',
  '410 in answer to a watch',
  '410 as an event of a watch',
]);

/** At a rotation, this fault lasts for a minute; others end as soon as the agent notices them. */
function lasting(fault: ApiFault): ApiFault {
  return {
    ...fault,
    name: `${fault.name}, for a minute`,
    situations: ['rotation'],
    slow: true,
    meanwhile: () => delay(minute),
  };
}

export const apiFaults: readonly ApiFault[] = [
  ...connectionFaults,
  ...answerFaults,
  ...statusFaults,
  ...watchFaults,
  ...[...connectionFaults, ...answerFaults, ...statusFaults, ...watchFaults]
    .filter(({ name }) => provoking.has(name))
    .map(lasting),
  ...csrFaults,
  ...signerFaults,
  ...forgeries,
];
