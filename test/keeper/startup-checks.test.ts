import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartupChecks } from '../../src/keeper/startup-checks.ts';
import { RecordingLink, RecordingLogger } from './fixtures.ts';

describe('StartupChecks', () => {
  it('runs once, even when the enroller is lost', () => {
    const enroller = new RecordingLink();
    const checks = new StartupChecks({ enroller, logger: new RecordingLogger() });
    checks.runOnce();
    enroller.lose({ code: 'ENROLLER_LOST', message: 'gone' });
    checks.runOnce();
    assert.deepEqual(enroller.commands, [{ type: 'preflight' }]);
    assert.equal(checks.findings, undefined);
  });

  it('logs errors and warnings with id and remedy, and keeps the other findings too', () => {
    const logger = new RecordingLogger();
    const enroller = new RecordingLink();
    const checks = new StartupChecks({ enroller, logger });
    const findings = [
      { id: 'second-rotator', severity: 'warning', what: 'w', why: 'y', remedy: 'r' },
      { id: 'pair-missing', severity: 'info', subject: 'kubelet-client', what: 'i' },
    ] as const;
    checks.runOnce();
    enroller.reply({ type: 'preflight', findings });
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
    assert.equal(checks.findings, findings);
  });
});
