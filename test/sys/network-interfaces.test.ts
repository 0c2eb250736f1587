import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { interfaceAddresses } from '../../src/sys/network-interfaces.ts';

describe('interfaceAddresses()', () => {
  it('lists addresses of this machine, each once, sorted, none that is internal', () => {
    const machine = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    const outside = machine.filter(({ internal }) => !internal).map(({ address }) => address);
    const found = interfaceAddresses();
    assert.deepEqual([...new Set(found)].sort(), found);
    assert.deepEqual(
      found.filter((address) => !outside.includes(address)),
      [],
    );
    assert.equal(found.includes('127.0.0.1') || found.includes('::1'), false);
  });
});
