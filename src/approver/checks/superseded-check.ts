import { supersededGrace } from '../../core/approver-policy.ts';
import type { Check } from './check.ts';
import { compareAge } from '../csr-order.ts';

/**
 * A kubelet waits for its newest CSR only. The controller limits the rate of denials with this
 * code, because they only tidy up.
 */
export const supersededCheck: Check = {
  id: '6.1',
  codes: ['Superseded'],
  passesIf: 'the node has no newer CSR',
  judge: ({ csr, facts, nodeName, now }) => {
    const newest = facts.csrs.newest(nodeName);
    if (newest === undefined || newest.name === csr.name || compareAge(newest, csr) <= 0) {
      return undefined;
    }
    const end = csr.createdAt + supersededGrace;
    const finding = {
      code: 'Superseded',
      message: `the node ${nodeName} has the newer CSR ${newest.name}`,
      remedy: `Do nothing; the node waits for the newer CSR: kubectl get csr ${newest.name}`,
    } as const;
    return now < end
      ? { ...finding, outcome: 'hold', until: end }
      : { ...finding, outcome: 'deny' };
  },
  facts: ({ facts, nodeName }) => {
    const newest = facts.csrs.newest(nodeName);
    if (newest === undefined) return [];
    const { name, resourceVersion } = newest;
    return [
      { fact: 'newest CSR of the node', value: name, source: `CSR ${name}`, resourceVersion },
    ];
  },
};
