import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RotationLog } from '../../src/keeper/rotation-log.ts';
import { hour, minute } from '../../src/core/instant.ts';
import { clientTemplate, pairFor, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { clientSpec, RecordingLogger } from './fixtures.ts';

const pair = pairFor(clientTemplate, { notAfter: start + hour });

function logAt(now: number): { readonly log: RotationLog; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  return { logger, log: new RotationLog({ spec: clientSpec, clock: new FakeClock(now), logger }) };
}

describe('RotationLog.deadline()', () => {
  it('tells expiration, deadline and the time until then, as the kubelet does', () => {
    const { log, logger } = logAt(start + 5 * minute);
    log.deadline(pair, start + 48 * minute);
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

  it('promises no wait when the deadline is over', () => {
    const { log, logger } = logAt(start + 50 * minute);
    log.deadline(pair, start + 48 * minute);
    assert.deepEqual(logger.take(), ['rotation_deadline']);
  });

  it('says nothing of a stand-in, which is replaced as soon as can be', () => {
    const { log, logger } = logAt(start);
    log.deadline({ ...pair, selfSigned: true }, start + 48 * minute);
    assert.deepEqual(logger.take(), []);
    assert.equal(log.lastEvent, undefined);
  });
});
