import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  formatHostPort,
  isLoopback,
  parseApiEndpoint,
  parseHostPort,
} from '../../src/core/host-port.ts';
import type { HostPort } from '../../src/core/host-port.ts';

describe('parseHostPort()', () => {
  const cases: readonly (readonly [string, HostPort | undefined])[] = [
    ['127.0.0.1:9471', { host: '127.0.0.1', port: 9_471 }],
    ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['[::1]:9471', { host: '::1', port: 9_471 }],
    ['[0:0:0:0:0:0:0:1]:9471', { host: '::1', port: 9_471 }],
    ['LocalHost:80', { host: 'localhost', port: 80 }],
    ['node.example.com:65535', { host: 'node.example.com', port: 65_535 }],
    ['127.0.0.1:65536', undefined],
    ['127.0.0.1', undefined],
    [':9471', undefined],
    ['9471', undefined],
    ['::1:9471', undefined],
    ['[::1]', undefined],
    ['[127.0.0.1]:80', undefined],
    ['[fe80::1%eth0]:80', undefined],
    ['1.2.3.400:80', undefined],
    ['a_b:80', undefined],
    ['a:80 ', undefined],
    ['http://localhost:80', undefined],
  ];
  for (const [text, expected] of cases) {
    it(`reads ${JSON.stringify(text)} as ${JSON.stringify(expected) ?? 'no address'}`, () => {
      assert.deepEqual(parseHostPort(text), expected);
    });
  }

  it('reads the output of formatHostPort()', () => {
    const host = fc.oneof(fc.ipV4(), fc.constantFrom('::1', 'fe80::1', 'localhost', 'a.b-c.d'));
    fc.assert(
      fc.property(fc.record({ host, port: fc.nat(65_535) }), (address) => {
        assert.deepEqual(parseHostPort(formatHostPort(address)), { ...address });
      }),
    );
  });
});

describe('parseApiEndpoint()', () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['10.0.0.1', '10.0.0.1:6443'],
    ['10.0.0.1:443', '10.0.0.1:443'],
    ['fd00::1', '[fd00::1]:6443'],
    ['[FD00::1]', '[fd00::1]:6443'],
    ['[fd00::1]:443', '[fd00::1]:443'],
    ['api.example.com', 'api.example.com:6443'],
    ['https://api.example.com', 'api.example.com:6443'],
    ['HTTPS://[fd00::1]:443/', '[fd00::1]:443'],
    ['', undefined],
    ['http://10.0.0.1', undefined],
    ['https://10.0.0.1/path', undefined],
    ['user@10.0.0.1', undefined],
    ['*.example.com', undefined],
    ['10.0.0.1:0', undefined],
    ['10.0.0.1:65536', undefined],
    ['10.0.0.400', undefined],
    // A URL takes these for IPv4 addresses.
    ['abcdef.012345', undefined],
    ['0x7f.1', undefined],
  ];
  for (const [text, expected] of cases) {
    it(`reads ${JSON.stringify(text)} as ${expected ?? 'no endpoint'}`, () => {
      const endpoint = parseApiEndpoint(text);
      assert.equal(endpoint && formatHostPort(endpoint), expected);
    });
  }
});

describe('isLoopback()', () => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) {
    it(`is true for ${host}`, () => assert.equal(isLoopback(host), true));
  }
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.example.com', 'localhost.example.com']) {
    it(`is false for ${host}`, () => assert.equal(isLoopback(host), false));
  }
});
