import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isSettled, ServiceNotifier, statusLine } from '../../src/app/service-notifier.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import type { AgentStatus, CertificateState, CertificateStatus } from '../../src/core/status.ts';
import type { ServiceManager } from '../../src/sys/service-manager.ts';
import { clientTemplate, pairFor, start } from '../core/fixtures.ts';

const current = pairFor(clientTemplate, { notBefore: start, notAfter: start + 30 * day });

function certificate(changes: Partial<CertificateStatus> = {}): CertificateStatus {
  return {
    name: 'kubelet-client',
    signerName: 'a/b',
    state: 'valid',
    since: start,
    path: '/pki/kubelet-client-current.pem',
    current,
    rotationDeadline: start + 20 * day,
    usable: true,
    overdue: false,
    attempts: 0,
    rotations: 0,
    ...changes,
  };
}

function statusOf(now: number, ...certificates: readonly CertificateStatus[]): AgentStatus {
  const common = { version: '1', pid: 1, nodeName: 'a', startedAt: start };
  return { ...common, now, certificateDirectory: '/pki', certificates };
}

const missing = { usable: false, current: undefined as never };

describe('isSettled()', () => {
  const cases: readonly (readonly [CertificateState, number, boolean])[] = [
    ['starting', hour, false],
    ['requesting', hour, false],
    ['backing-off', 0, true],
    ['not-yet-valid', 0, true],
    ['pending-approval', 9 * second, false],
    ['pending-approval', 10 * second, true],
    ['pending-issuance', 10 * second, true],
    ['waiting-for-addresses', 10 * second, true],
    ['waiting-for-identity', 10 * second, true],
    ['waiting-for-identity', -10 * second, true],
  ];
  for (const [state, age, settled] of cases) {
    it(`is ${settled} for a certificate in ${state} for ${age / second} s`, () => {
      const waiting = certificate({ ...missing, state });
      assert.equal(isSettled(statusOf(start + age, certificate(), waiting)), settled);
    });
  }

  it('is false for 10s on a machine without a host name, and true after that', () => {
    const starting = certificate({ state: 'starting', usable: false });
    for (const [age, settled] of [
      [9, false],
      [10, true],
    ] as const) {
      const status = { ...statusOf(start + age * second, starting), startedAt: start };
      assert.equal(isSettled({ ...status, placeholderHostName: 'localhost' }), settled);
    }
  });

  it('is true for a usable certificate in any state', () => {
    assert.equal(isSettled(statusOf(start, certificate({ state: 'requesting' }))), true);
  });
});

describe('statusLine()', () => {
  it('counts healthy certificates and names the next rotation', () => {
    const server = certificate({ name: 'kubelet-server', rotationDeadline: start + 3 * day });
    assert.equal(
      statusLine(statusOf(start, certificate(), server)),
      '2 of 2 certificates valid, next rotation kubelet-server in 3d',
    );
    assert.match(statusLine(statusOf(start + 4 * day, server)), /kubelet-server is being rotated$/);
  });

  it('starts with the problems and their remedies', () => {
    const csr = { name: 'node-csr-a', uid: '1', createdAt: start };
    const server = certificate({
      ...missing,
      name: 'kubelet-server',
      state: 'pending-approval',
      csr,
    });
    assert.equal(
      statusLine(statusOf(start + 5 * minute, certificate(), server)),
      'kubelet-server: pending approval for 5m (approve with: kubectl certificate approve node-csr-a); 1 of 2 certificates valid, next rotation kubelet-client in 19d 23h',
    );
  });

  it('shows an overdue rotation', () => {
    const line = statusLine(statusOf(start + 28 * day, certificate({ overdue: true })));
    assert.equal(line, 'kubelet-client: rotation overdue; 0 of 1 certificates valid');
  });
});

class RecordingManager implements ServiceManager {
  readonly sent: string[][] = [];
  readonly watchdogMs: number | undefined;

  constructor(watchdogMs?: number) {
    this.watchdogMs = watchdogMs;
  }

  notify(...assignments: readonly string[]): void {
    this.sent.push([...assignments]);
  }
}

describe('ServiceNotifier', () => {
  const pending = certificate({ ...missing, state: 'pending-approval' });

  it('round() sends READY once, and STATUS only if it changed', () => {
    const manager = new RecordingManager();
    const notifier = new ServiceNotifier(manager);
    notifier.round(statusOf(start, pending));
    notifier.round(statusOf(start + 10 * second, pending));
    notifier.round(statusOf(start + 10 * second, pending));
    const names = manager.sent.map((one) => one.map((text) => text.replace(/=.*/, '')));
    assert.deepEqual(names, [['STATUS'], ['READY', 'STATUS']]);
  });

  it('round() pings the watchdog if there is one', () => {
    const manager = new RecordingManager(minute);
    const notifier = new ServiceNotifier(manager);
    for (let n = 0; n < 3; n += 1) notifier.round(statusOf(start, certificate()));
    assert.deepEqual(
      manager.sent.map((one) => one.filter((text) => text === 'WATCHDOG=1')),
      [['WATCHDOG=1'], ['WATCHDOG=1'], ['WATCHDOG=1']],
    );
  });

  for (const [what, watchdogMs, before, after] of [
    ['without a service manager', undefined, minute, minute],
    ['without a watchdog', null, second, minute],
    ['with a watchdog of 20 s', 20 * second, second, 10 * second],
    ['with a watchdog of 1 h', hour, second, minute],
  ] as const) {
    it(`longestPause is ${before} ms, then ${after} ms once ready, ${what}`, () => {
      const manager =
        watchdogMs === undefined ? undefined : new RecordingManager(watchdogMs ?? undefined);
      const notifier = new ServiceNotifier(manager);
      assert.equal(notifier.longestPause, before);
      notifier.round(statusOf(start, certificate()));
      assert.equal(notifier.longestPause, after);
    });
  }

  it('reloading() and reloaded() send nothing before the service is ready', () => {
    const manager = new RecordingManager();
    const notifier = new ServiceNotifier(manager);
    notifier.reloading();
    notifier.reloaded();
    assert.deepEqual(manager.sent, []);
    notifier.round(statusOf(start, certificate()));
    notifier.reloading();
    notifier.reloaded();
    notifier.stopping();
    const [, reloading, ready, stopping] = manager.sent;
    assert.equal(reloading?.[0], 'RELOADING=1');
    assert.match(reloading?.[1] ?? '', /^MONOTONIC_USEC=\d+$/);
    assert.deepEqual([ready, stopping?.[0]], [['READY=1'], 'STOPPING=1']);
  });
});
