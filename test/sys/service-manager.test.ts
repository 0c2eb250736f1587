import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { serviceManager, socketAddress } from '../../src/sys/service-manager.ts';
import { NotifySocket } from '../support/notify-socket.ts';

describe('serviceManager()', () => {
  it('is undefined without NOTIFY_SOCKET', async () => {
    assert.equal(await serviceManager({}), undefined);
    assert.equal(await serviceManager({ NOTIFY_SOCKET: '' }), undefined);
    assert.equal(await serviceManager({ NOTIFY_SOCKET: 'relative' }), undefined);
  });

  for (const [kind, name] of [
    ['a path', undefined],
    ['an abstract name', `@nodecertd-test-${process.pid}`],
  ] as const) {
    it(`sends all assignments in one datagram to ${kind}`, async () => {
      using socket = new NotifySocket(name);
      const manager = await serviceManager({ NOTIFY_SOCKET: socket.path });
      manager?.notify('READY=1', 'STATUS=2 of 2 certificates – all fine');
      manager?.notify('WATCHDOG=1');
      assert.deepEqual(socket.received, [
        'READY=1',
        'STATUS=2 of 2 certificates – all fine',
        'WATCHDOG=1',
      ]);
    });
  }

  it('is not blocked by a manager that does not read or has ended', async () => {
    const manager = await (async () => {
      using socket = new NotifySocket();
      const found = await serviceManager({ NOTIFY_SOCKET: socket.path });
      for (let n = 0; n < 10_000; n += 1) found?.notify('WATCHDOG=1');
      return found;
    })();
    manager?.notify('WATCHDOG=1');
  });

  for (const [what, environment, expected] of [
    ['none', {}, undefined],
    ['a timeout without a pid', { WATCHDOG_USEC: '30000000' }, 30_000],
    [
      'a timeout for this process',
      { WATCHDOG_USEC: '1', WATCHDOG_PID: String(process.pid) },
      0.001,
    ],
    ['a timeout for another process', { WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }, undefined],
    ['a timeout of 0', { WATCHDOG_USEC: '0' }, undefined],
    ['nonsense', { WATCHDOG_USEC: 'soon' }, undefined],
  ] as const) {
    it(`reads the watchdog time: ${what}`, async () => {
      using socket = new NotifySocket();
      const manager = await serviceManager({ NOTIFY_SOCKET: socket.path, ...environment });
      assert.equal(manager?.watchdogMs, expected);
    });
  }
});

describe('socketAddress()', () => {
  it('returns the family, then the path as bytes', () => {
    const address = socketAddress('/run/ä');
    assert.equal(address?.readUInt16LE(), 1);
    assert.equal(address?.toString('utf8', 2), '/run/ä');
    assert.equal(socketAddress('@x')?.toString('latin1', 2), '\0x');
  });

  it('refuses a path that is too long for the kernel', () => {
    assert.equal(socketAddress(`/${'a'.repeat(106)}`)?.length, 109);
    assert.equal(socketAddress(`/${'a'.repeat(107)}`), undefined);
  });
});
