import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RotationLog } from '../../src/keeper/rotation-log.ts';
import { hour, minute } from '../../src/core/instant.ts';
import { initialState } from '../../src/core/rotation-state.ts';
import type { RotationState } from '../../src/core/rotation-state.ts';
import { clientTemplate, pairFor, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { clientSpec, RecordingLogger } from './fixtures.ts';

const pair = pairFor(clientTemplate, { notAfter: start + hour });

function logAt(now: number): { readonly log: RotationLog; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  return { logger, log: new RotationLog({ spec: clientSpec, clock: new FakeClock(now), logger }) };
}

function due(changes: Partial<RotationState> = {}): RotationState {
  const state = initialState({ now: start, identityReady: true, delay: 0 });
  return { ...state, pair, deadline: start + 48 * minute, ...changes };
}

describe('RotationLog.deadline()', () => {
  it('logs expiration, deadline and remaining time, as the kubelet does', () => {
    const { log, logger } = logAt(start + 5 * minute);
    log.deadline(due());
    assert.deepEqual(logger.lines, [
      {
        event: 'rotation_deadline',
        certificate: 'kubelet-client',
        serial: '4f2a',
        notAfter: '2026-01-01T01:00:00Z',
        path: pair.path,
        deadline: '2026-01-01T00:48:00Z',
      },
      { event: 'rotation_waiting', certificate: 'kubelet-client', seconds: 43 * 60 },
    ]);
  });

  it('logs no remaining time after the deadline', () => {
    const { log, logger } = logAt(start + 50 * minute);
    log.deadline(due());
    assert.deepEqual(logger.take(), ['rotation_deadline']);
  });

  it('logs no deadline of a temporary self-signed certificate', () => {
    const { log, logger } = logAt(start);
    log.deadline(due({ pair: { ...pair, selfSigned: true } }));
    assert.deepEqual(logger.take(), []);
    assert.equal(log.lastEvent, undefined);
  });
});
