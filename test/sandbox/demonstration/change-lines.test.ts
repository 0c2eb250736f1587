import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { changeLines } from './change-lines.ts';
import type { AgentStatus } from '../../../src/core/status.ts';
import { agentStatus, certificateStatus, pairFacts, start } from '../../cli/statuses.ts';

function failed(at: number): AgentStatus {
  return agentStatus(at, [
    certificateStatus({
      state: 'backing-off',
      lastFailure: { code: 'CSR_DENIED', message: 'denied:\nno', at },
      nextAttempt: at + 3_600_000,
    }),
  ]);
}

describe('changeLines()', () => {
  it('reports every certificate once, and nothing as time passes', () => {
    const first = agentStatus(start);
    assert.deepEqual(changeLines(undefined, first), [
      '12:00:00 kubelet-client: valid, serial 4f2a…ccdd, expires in 1m 40s, rotation in 1m 20s',
    ]);
    assert.deepEqual(changeLines(first, agentStatus(start + 60_000)), []);
  });

  it('reports only the certificate that changed', () => {
    const other = certificateStatus({ name: 'kubelet-server' });
    const before = agentStatus(start, [certificateStatus(), other]);
    const after = agentStatus(start + 1_000, [
      certificateStatus({ current: pairFacts({ serial: 'b' }) }),
      other,
    ]);
    const [line, ...more] = changeLines(before, after);
    assert.match(line ?? '', /^12:00:01 kubelet-client: valid, serial b, /);
    assert.deepEqual(more, []);
  });

  it('reports the code and the retry time once for each failed attempt', () => {
    const [line] = changeLines(agentStatus(start), failed(start + 1_000));
    assert.match(line ?? '', /backing-off, .*CSR_DENIED: denied: no, next attempt in 1h$/);
    assert.equal(changeLines(failed(start), failed(start + 1)).length, 1);
  });

  it('omits a retry time that has passed', () => {
    const late = { ...failed(start), now: start + 3_600_000 };
    assert.match(changeLines(undefined, late)[0] ?? '', /CSR_DENIED: denied: no$/);
  });
});
