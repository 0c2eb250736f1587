import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PreflightLog } from '../../src/keeper/preflight-log.ts';
import { RecordingLink, RecordingLogger } from './fixtures.ts';

describe('PreflightLog', () => {
  it('asks once, however often there is time', () => {
    const enroller = new RecordingLink();
    const log = new PreflightLog({ enroller, logger: new RecordingLogger() });
    log.quiet();
    log.quiet();
    assert.deepEqual(enroller.commands, [{ type: 'preflight' }]);
    assert.equal(log.findings, undefined);
  });

  it('logs errors and warnings with id and remedy, and keeps the rest too', () => {
    const logger = new RecordingLogger();
    const log = new PreflightLog({ enroller: new RecordingLink(), logger });
    const findings = [
      { id: 'second-rotator', severity: 'warning', what: 'w', why: 'y', remedy: 'r' },
      { id: 'pair-missing', severity: 'info', subject: 'kubelet-client', what: 'i' },
    ] as const;
    log.report(findings);
    assert.deepEqual(logger.lines, [
      {
        event: 'preflight_finding',
        id: 'second-rotator',
        severity: 'warning',
        subject: undefined,
        finding: 'w',
        why: 'y',
        remedy: 'r',
      },
    ]);
    assert.equal(log.findings, findings);
  });
});
