import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shortFingerprint } from '../../../src/core/trust.ts';
import { defaultDirectories } from '../../../src/pki/layout.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { reportedObstacles } from '../../../src/trust/control-plane/permission.ts';
import { next, old } from '../../support/rollover-state.ts';

describe('reportedObstacles()', () => {
  /** cp2 reports another new CA of etcd. */
  const cp2 = {
    name: 'cp2',
    isReady: false,
    addresses: [],
    report: {
      authorities: [],
      leaves: {},
      startedAt: {},
      reportedAt: systemClock.now(),
      etcdNext: shortFingerprint(old.fingerprint),
    },
  };
  const common = { directories: defaultDirectories, clock: systemClock, others: [cp2], next };

  it('names a node with another new CA, unless --except has the node', () => {
    const question = { ...common, ca: 'etcd' } as const;
    const [reason, ...more] = reportedObstacles(question);
    assert.match(reason?.message ?? '', /^the node cp2 has the new CA /);
    assert.deepEqual(more, []);
    const exceptNodes = new Set(['cp2']);
    assert.deepEqual(reportedObstacles({ ...question, exceptNodes }), []);
  });
});
