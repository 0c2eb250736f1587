import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HookAction, HookEnd } from '../../src/core/hooks.ts';
import {
  hookCommand,
  hookEnvironment,
  hookFailure,
  hookNames,
  renewalEnvironment,
} from '../../src/core/hooks.ts';
import { second } from '../../src/core/instant.ts';
import { start } from './fixtures.ts';

const deploy: HookAction = { kind: 'command', argv: ['/usr/local/bin/deploy', '--now'] };
const reload: HookAction = { kind: 'systemctl', verb: 'reload', unit: 'nginx.service' };
const hangup: HookAction = { kind: 'signal', signal: 'SIGHUP', unit: 'haproxy.service' };

function words(hook: HookAction): string {
  return hookCommand(hook, '/usr/bin/systemctl').join(' ');
}

describe('hookNames()', () => {
  it('names program or action, without the arguments of a command', () => {
    assert.deepEqual(hookNames([deploy, reload, hangup]), [
      '/usr/local/bin/deploy',
      'reload nginx.service',
      'SIGHUP haproxy.service',
    ]);
  });

  it('numbers equal hooks', () => {
    const other: HookAction = { kind: 'command', argv: ['/usr/local/bin/deploy', '--later'] };
    const names = hookNames([deploy, reload, other, deploy]);
    assert.deepEqual(names.slice(2), ['/usr/local/bin/deploy (2)', '/usr/local/bin/deploy (3)']);
  });
});

describe('hookCommand()', () => {
  it('returns a command as configured', () => {
    assert.deepEqual(hookCommand(deploy, '/bin/systemctl'), ['/usr/local/bin/deploy', '--now']);
  });

  it('runs systemctl for the rest, without a password prompt', () => {
    assert.equal(words(reload), '/usr/bin/systemctl --no-ask-password reload -- nginx.service');
    assert.equal(
      words(hangup),
      '/usr/bin/systemctl --no-ask-password --kill-who=main --signal=SIGHUP kill -- haproxy.service',
    );
  });
});

describe('renewalEnvironment()', () => {
  it('has the directory and the names of the renewed certificates', () => {
    const { PATH, ...rest } = renewalEnvironment('/etc/kubernetes', ['apiserver', 'etcd-peer']);
    assert.ok(PATH);
    assert.deepEqual(rest, {
      NODECERTD_DIRECTORY: '/etc/kubernetes',
      NODECERTD_CERTIFICATES: 'apiserver etcd-peer',
    });
  });
});

describe('hookEnvironment()', () => {
  it('describes the certificate, and nothing else', () => {
    const pair = { serial: '4f2a', notAfter: start };
    const environment = hookEnvironment('kubelet-server', '/pki/kubelet-server-current.pem', pair);
    assert.deepEqual(environment, {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      NODECERTD_CERTIFICATE: 'kubelet-server',
      NODECERTD_PATH: '/pki/kubelet-server-current.pem',
      NODECERTD_SERIAL: '4f2a',
      NODECERTD_NOT_AFTER: '2026-01-01T00:00:00Z',
    });
  });
});

describe('hookFailure()', () => {
  it('is undefined after exit code 0', () => {
    const end: HookEnd = { kind: 'exited', code: 0 };
    assert.equal(hookFailure('a', end, { timeoutMs: second }), undefined);
  });

  const rows: readonly (readonly [HookEnd, string, string])[] = [
    [{ kind: 'exited', code: 3 }, 'HOOK_FAILED', 'hook a failed with exit code 3'],
    [{ kind: 'signaled', signal: 'SIGSEGV' }, 'HOOK_FAILED', 'hook a was killed by SIGSEGV'],
    [
      { kind: 'not-started', reason: 'permission to execute it is denied' },
      'HOOK_FAILED',
      'hook a could not be started: permission to execute it is denied',
    ],
    [{ kind: 'timed-out' }, 'HOOK_TIMEOUT', 'hook a timed out after 90s and was killed'],
  ];
  for (const [end, code, message] of rows) {
    it(`is ${code} for a hook that ended as ${end.kind}`, () => {
      const failure = hookFailure('a', end, { timeoutMs: 90 * second });
      assert.equal(failure?.code, code);
      assert.equal(failure?.message, message);
      assert.ok(failure?.remedy);
    });
  }
});
