import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConnectionLog } from '../../src/agent/connection-log.ts';
import type { ConnectionReport } from '../../src/agent/connection-log.ts';
import { RecordingLogger, RecordingObserver } from './fixtures.ts';

const rows: readonly (readonly [ConnectionReport, object])[] = [
  [
    { type: 'api-request', verb: 'get', code: '200', seconds: 0.123456 },
    { event: 'api_request', verb: 'get', code: '200', seconds: 0.123 },
  ],
  [
    { type: 'credential', source: 'bootstrap' },
    { event: 'credential_chosen', source: 'bootstrap' },
  ],
  [
    { type: 'stale-kubeconfig', path: '/k', pair: '/p' },
    {
      event: 'kubeconfig_stale',
      path: '/k',
      remedy: 'let client-certificate and client-key both name /p',
    },
  ],
  [
    { type: 'insecure', server: 'https://10.0.0.1' },
    { event: 'connection_insecure', server: 'https://10.0.0.1' },
  ],
];

describe('ConnectionLog', () => {
  for (const [report, line] of rows) {
    it(`tells ${report.type}`, () => {
      const logger = new RecordingLogger();
      new ConnectionLog({ logger, observer: new RecordingObserver() }).report(report);
      assert.deepEqual(logger.lines, [line]);
    });
  }
});
