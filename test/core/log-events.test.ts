import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { logEvents } from '../../src/core/log-events.ts';
import type { LogEvent } from '../../src/core/log-events.ts';

/** Lines of client-go v0.37 (util/certificate: certificate_manager.go, csr/csr.go), because people search for them. */
const kubeletLines: readonly (readonly [LogEvent, string])[] = [
  ['agent_started', 'Certificate rotation is enabled'],
  ['rotation_deadline', 'Certificate rotation deadline determined'],
  ['rotation_waiting', 'Waiting for next certificate rotation'],
  ['rotation_started', 'Rotating certificates'],
  ['csr_created', 'Certificate signing request created'],
  ['csr_approved', 'Certificate signing request is approved, waiting to be issued'],
  ['csr_issued', 'Certificate signing request is issued'],
];

describe('logEvents', () => {
  for (const [event, message] of kubeletLines) {
    it(`say "${message}" as the kubelet does`, () => {
      assert.deepEqual(logEvents[event], { level: 'info', message });
    });
  }

  it('have names in snake_case, and messages without a final period', () => {
    for (const [event, { message }] of Object.entries(logEvents)) {
      assert.match(event, /^[a-z]+(_[a-z]+)*$/);
      assert.match(message, /^[A-Z][^\n]*[^.\n]$/, event);
    }
  });
});
