import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AddressBook } from '../../src/keeper/address-book.ts';
import type { AddressReply } from '../../src/core/enroller-protocol.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { RecordingLink, RecordingLogger } from './fixtures.ts';

const internal = { type: 'InternalIP', address: '10.0.0.1' };

/** An address book. The random number is 0.5 by default, which does not change a delay. */
class Reader {
  readonly clock = new FakeClock(start);
  readonly link = new RecordingLink();
  readonly logger = new RecordingLogger();
  interfaces: readonly string[] = ['10.0.0.1'];
  readonly book: AddressBook;

  constructor(refreshSeconds = 1_800, random = 0.5) {
    this.book = new AddressBook({
      clock: this.clock,
      random: () => random,
      enroller: this.link,
      logger: this.logger,
      interfaces: () => this.interfaces,
      refreshSeconds,
      hostName: 'worker-1',
    });
  }

  tick(lookUpNode = true): number {
    this.book.tick({ lookUpNode });
    return this.link.commands.splice(0).length;
  }

  async pass(ms: number): Promise<number> {
    await this.clock.advance(ms);
    return this.tick();
  }

  found(addresses: Extract<AddressReply, { type: 'addresses' }>['addresses'], final = true): void {
    this.link.reply({ type: 'addresses', addresses, final });
  }

  failed(retryAfterMs?: number): void {
    const failure = { code: 'API_FORBIDDEN', message: 'no', remedy: 'bind a role' } as const;
    this.link.reply({
      type: 'addresses-failed',
      failure: { ...failure, ...(retryAfterMs !== undefined && { retryAfterMs }) },
    });
  }
}

describe('AddressBook', () => {
  it('knows the interfaces at once, and the Node after a lookup', () => {
    const reader = new Reader();
    assert.equal(reader.tick(), 1);
    assert.deepEqual(reader.book.ofInterfaces, {
      dnsNames: ['worker-1'],
      ipAddresses: ['10.0.0.1'],
    });
    assert.equal(reader.book.ofNode, undefined);
    reader.found([internal, { type: 'Hostname', address: 'Worker-1' }]);
    const names = { dnsNames: ['worker-1'], ipAddresses: ['10.0.0.1'] };
    assert.deepEqual(reader.book.ofNode, names);
    assert.deepEqual(reader.logger.lines, [{ event: 'addresses_changed', ...names }]);
  });

  it('does not look up the Node before it is allowed to', () => {
    const reader = new Reader();
    assert.equal(reader.tick(false), 0);
    assert.equal(reader.tick(true), 1);
  });

  it('runs one lookup at a time, and the next after the interval', async () => {
    const reader = new Reader();
    reader.tick();
    assert.equal(reader.tick(), 0);
    assert.equal(reader.book.wake, Infinity);
    reader.found([internal]);
    assert.equal(reader.book.wake, start + 30 * minute);
    assert.equal(await reader.pass(30 * minute - 1), 0);
    assert.equal(await reader.pass(1), 1);
  });

  it('looks up after a change of an interface, and again a minute later', async () => {
    const reader = new Reader();
    reader.tick();
    reader.found([internal]);
    reader.interfaces = ['10.0.0.1', '10.0.0.2'];
    assert.equal(await reader.pass(minute), 1);
    reader.found([internal]);
    assert.equal(await reader.pass(minute), 1);
    reader.found([internal]);
    assert.equal(reader.book.wake, reader.clock.now() + 30 * minute);
    assert.deepEqual(reader.book.ofInterfaces.ipAddresses, ['10.0.0.1', '10.0.0.2']);
  });

  it('looks up at most once a minute, even if an interface flaps', async () => {
    const reader = new Reader();
    const looks: number[] = [];
    for (let passed = 0; passed <= 5 * minute; passed += 5 * second) {
      reader.interfaces = reader.interfaces.length === 1 ? ['10.0.0.1', '10.0.0.2'] : ['10.0.0.1'];
      if (reader.tick() > 0) {
        looks.push(passed / second);
        reader.found([internal]);
      }
      await reader.clock.advance(5 * second);
    }
    assert.deepEqual(looks, [0, 60, 120, 180, 240, 300]);
  });

  it('looks up a change a minute after the last lookup', async () => {
    const reader = new Reader();
    reader.tick();
    reader.found([internal]);
    reader.interfaces = ['10.0.0.2'];
    assert.equal(await reader.pass(20 * second), 0);
    assert.equal(reader.book.wake, start + minute);
    assert.equal(await reader.pass(40 * second), 1);
  });

  it('looks up a change with the next retry after a failure', async () => {
    const reader = new Reader();
    reader.tick();
    reader.failed();
    reader.interfaces = ['10.0.0.2'];
    assert.equal(await reader.pass(5 * second), 0);
    assert.equal(await reader.pass(5 * second), 1);
  });

  it('looks up a change at once if the clock was set back', async () => {
    const reader = new Reader();
    reader.tick();
    reader.found([internal]);
    reader.clock.jump(-10 * minute);
    reader.interfaces = ['10.0.0.2'];
    assert.equal(reader.tick(), 1);
  });

  it('does not log unchanged addresses', () => {
    const reader = new Reader();
    reader.tick();
    reader.found([internal]);
    reader.found([internal]);
    assert.deepEqual(reader.logger.take(), ['addresses_changed']);
  });

  it('keeps addresses if the Node has none', () => {
    const reader = new Reader(0);
    reader.tick();
    reader.found([internal], false);
    reader.found([], false);
    assert.deepEqual(reader.book.ofNode?.ipAddresses, ['10.0.0.1']);
    reader.failed();
    assert.deepEqual(reader.book.ofNode?.ipAddresses, ['10.0.0.1']);
  });

  it('keeps its lookup open while the Node has no addresses', async () => {
    const reader = new Reader();
    reader.tick();
    reader.found([], false);
    assert.equal(await reader.pass(2 * hour), 0);
    reader.found([internal], true);
    assert.equal(await reader.pass(31 * minute), 1);
  });

  it('watches the Node continuously if configured', async () => {
    const reader = new Reader(0);
    reader.book.tick({ lookUpNode: true });
    assert.deepEqual(reader.link.commands.splice(0), [{ type: 'look-up-addresses', follow: true }]);
    reader.found([internal], false);
    assert.equal(await reader.pass(hour), 0);
    reader.failed();
    assert.equal(await reader.pass(10 * second), 1);
  });

  it('retries a failed lookup with delays, and logs why', async () => {
    const reader = new Reader();
    reader.tick();
    reader.failed();
    assert.equal(reader.book.wake, start + 10 * second);
    assert.equal(await reader.pass(10 * second), 1);
    reader.failed();
    assert.equal(reader.book.wake, reader.clock.now() + 20 * second);
    assert.deepEqual(reader.logger.lines[0], {
      event: 'addresses_failed',
      code: 'API_FORBIDDEN',
      error: 'no',
      remedy: 'bind a role',
    });
  });

  it('looks up again within a minute after a change of a credential that failed', async () => {
    const reader = new Reader();
    reader.tick();
    reader.found([internal]);
    reader.book.credentialChanged();
    assert.equal(await reader.pass(minute), 0);
    assert.equal(await reader.pass(29 * minute), 1);
    reader.failed();
    reader.book.credentialChanged();
    assert.equal(reader.tick(), 0);
    assert.equal(await reader.pass(minute), 1);
  });

  it('waits for its interval after a failure if it knows addresses', async () => {
    const reader = new Reader();
    reader.tick();
    reader.found([internal]);
    assert.equal(await reader.pass(30 * minute), 1);
    reader.failed();
    assert.equal(reader.book.wake, reader.clock.now() + 30 * minute);
    // A changed interface makes the retry urgent.
    reader.interfaces = ['10.0.0.2'];
    assert.equal(await reader.pass(minute), 1);
    reader.failed();
    assert.equal(reader.book.wake, reader.clock.now() + 20 * second);
  });

  it('spreads lookups that began together over the interval', () => {
    const wakes = [0, 0.25, 0.5, 0.75].map((random) => {
      const reader = new Reader(1_800, random);
      reader.tick();
      reader.found([internal]);
      return (reader.book.wake - start) / minute;
    });
    assert.deepEqual(wakes, [15, 22.5, 30, 37.5]);
  });

  it('obeys Retry-After', async () => {
    const reader = new Reader();
    reader.tick();
    reader.failed(40 * minute);
    assert.equal(await reader.pass(40 * minute - 1), 0);
    assert.equal(await reader.pass(21 * minute), 1);
  });

  it('counts the loss of the enroller as a failure of the lookup in progress', () => {
    const reader = new Reader();
    const loss = { code: 'ENROLLER_LOST', message: 'gone' } as const;
    reader.link.lose(loss);
    assert.deepEqual(reader.logger.take(), []);
    reader.tick();
    reader.link.lose(loss);
    assert.deepEqual(reader.logger.take(), ['addresses_failed']);
    assert.equal(reader.book.wake, start + 5 * second);
  });

  it('does not wait longer after the clock is set back', () => {
    const reader = new Reader();
    reader.clock.jump(24 * hour);
    reader.tick();
    reader.found([internal]);
    reader.clock.jump(-24 * hour);
    assert.equal(reader.tick(), 1);
  });
});
