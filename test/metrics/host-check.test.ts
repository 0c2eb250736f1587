import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isTrustedHost } from '../../src/metrics/host-check.ts';

const names = ['metrics.node.example', 'Worker-1'];

describe('isTrustedHost()', () => {
  const trusted = [
    undefined,
    'localhost',
    'LOCALHOST:9471',
    'localhost.:9471',
    '127.0.0.1:9471',
    '10.1.2.3',
    '[::1]:9471',
    '[fe80::1]',
    'worker-1:9471',
    'metrics.node.example',
  ];
  for (const host of trusted) {
    it(`accepts ${host ?? 'no header'}`, () => assert.ok(isTrustedHost(host, names)));
  }

  const refused = [
    '',
    'evil.example',
    'localhost.evil.example',
    'evil.localhost',
    '127.0.0.1.evil.example',
    'worker-10',
    'worker-1.evil.example',
    '::1',
    '[::1',
    '[evil.example]',
    'evil@127.0.0.1',
    '127.0.0.1:9471:1',
    '127.0.0.1/evil',
    '127.1',
    'localhost:port',
  ];
  for (const host of refused) {
    it(`rejects "${host}"`, () => assert.ok(!isTrustedHost(host, names)));
  }
});
