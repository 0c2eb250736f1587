import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localHost } from '../../src/sys/local-host.ts';

test('localHost() replaces wildcard addresses alone', () => {
  const hosts = ['0.0.0.0', '::', '10.0.0.5', '::1', 'localhost'];
  assert.deepEqual(hosts.map(localHost), ['127.0.0.1', '::1', '10.0.0.5', '::1', 'localhost']);
});
