import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConnectionLog } from '../../src/keeper/connection-log.ts';
import type { EnrollerNotice } from '../../src/core/enroller-protocol.ts';
import { RecordingLogger, RecordingObserver } from './fixtures.ts';

const rows: readonly (readonly [EnrollerNotice, object])[] = [
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
      remedy:
        'Run nodecertd adopt, or set client-certificate and client-key in the kubeconfig to /p',
    },
  ],
  [
    { type: 'discovery', line: '10.0.0.1:6443 refused the connection' },
    { event: 'discovery_progress', progress: '10.0.0.1:6443 refused the connection' },
  ],
  [
    {
      type: 'discovered',
      server: 'https://10.0.0.1:6443',
      authorities: [
        { subject: 'CN=old', pin: 'sha256:0a', isPinned: true },
        { subject: 'CN=new', pin: 'sha256:0b', isPinned: false },
      ],
      warnings: ['one CA expires soon'],
    },
    {
      event: 'cluster_discovered',
      server: 'https://10.0.0.1:6443',
      cas: ['CN=old sha256:0a', 'CN=new sha256:0b (not pinned)'],
      warnings: ['one CA expires soon'],
    },
  ],
  [
    { type: 'identity-refused', error: 'HTTP status 401' },
    { event: 'identity_refused', error: 'HTTP status 401' },
  ],
  [
    { type: 'insecure', server: 'https://10.0.0.1' },
    { event: 'connection_insecure', server: 'https://10.0.0.1' },
  ],
];

describe('ConnectionLog', () => {
  for (const [notice, line] of rows) {
    it(`logs ${notice.type}`, () => {
      const logger = new RecordingLogger();
      new ConnectionLog({ logger, observer: new RecordingObserver() }).notice(notice);
      assert.deepEqual(logger.lines, [line]);
    });
  }

  it('logs changes of the kubeconfig, and once why it cannot be used', () => {
    const logger = new RecordingLogger();
    const log = new ConnectionLog({ logger, observer: new RecordingObserver() });
    const failure = { code: 'KUBECONFIG_INVALID', message: 'm', remedy: 'r' } as const;
    const finding = { kind: 'kubeconfig-written', path: '/k', detail: 'd' } as const;
    for (const report of [
      { findings: [], failure },
      { findings: [], failure },
    ]) {
      log.notice({ type: 'kubeconfig', path: '/k', ...report });
      assert.equal(log.kubeconfigFailure, failure);
    }
    log.notice({ type: 'kubeconfig', path: '/k', findings: [finding] });
    assert.equal(log.kubeconfigFailure, undefined);
    assert.deepEqual(logger.lines, [
      {
        event: 'kubeconfig_unusable',
        path: '/k',
        code: 'KUBECONFIG_INVALID',
        error: 'm',
        remedy: 'r',
      },
      { event: 'kubeconfig_written', path: '/k', detail: 'd' },
      { event: 'kubeconfig_usable', path: '/k' },
    ]);
  });

  it('logs when a clock skew begins and ends', () => {
    const logger = new RecordingLogger();
    const observer = new RecordingObserver();
    const log = new ConnectionLog({ logger, observer });
    for (const ms of [0, 9_000, -12_000, -13_000, 2_000, 0, 60_000]) {
      log.notice({ type: 'clock-skew', ms });
    }
    const said = logger.lines.map((line) => [line.event, line['seconds']]);
    assert.deepEqual(said, [
      ['clock_skew', -12],
      ['clock_skew_over', 2],
      ['clock_skew', 60],
    ]);
    assert.match(String(logger.all('clock_skew')[0]?.['remedy']), /timedatectl/);
    assert.equal(observer.skew, 60_000);
  });
});
