import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { BootstrapConfig } from '../../src/core/config.ts';
import { describeError } from '../../src/core/errors.ts';
import { loadText } from './load-text.ts';

const hash = `sha256:${'0a'.repeat(32)}`;

async function load(context: TestContext, text: string, flags = {}): Promise<BootstrapConfig> {
  return (await loadText(context, text, flags)).bootstrap;
}

/** One valid discovery with some of its lines replaced. */
const discovery = (changes: Readonly<Record<string, string>>): string =>
  Object.entries({
    endpoints: '[10.0.0.1]',
    tokenFile: 'token',
    caCertHashes: `["${hash}"]`,
    ...changes,
  }).reduce((text, [key, value]) => `${text}\n    ${key}: ${value}`, 'bootstrap:\n  discovery:');

describe('loadConfig() on bootstrap', () => {
  it('neither discovers nor removes anything by default', async (context) => {
    assert.deepEqual(await load(context, ''), { deleteAfterUse: false });
  });

  it('reads every key', async (context) => {
    const text = `
bootstrap:
  discovery:
    endpoints: [10.0.0.1, "[fd00::1]:6444", "https://API.example.com"]
    tokenFile: /etc/kubernetes/bootstrap-token
    caCertHashes: ["${hash}", "${hash.toUpperCase().replace('SHA256', 'sha256')}"]
  deleteAfterUse: true`;
    assert.deepEqual(await load(context, text), {
      discovery: {
        endpoints: [
          { host: '10.0.0.1', port: 6_443 },
          { host: 'fd00::1', port: 6_444 },
          { host: 'api.example.com', port: 6_443 },
        ],
        tokenFile: '/etc/kubernetes/bootstrap-token',
        pins: [hash, hash],
      },
      deleteAfterUse: true,
    });
  });

  it('starts a relative token file at the directory of the file', async (context) => {
    const { tokenFile = '' } = (await load(context, discovery({}))).discovery ?? {};
    assert.match(tokenFile, /^\/.+\/token$/);
  });

  const rejected = [
    ['bootstrap: true', 'config.yaml:3: bootstrap: expected a map, found true'],
    [
      'bootstrap: { deleteAfterUs: true }',
      'config.yaml:3: bootstrap.deleteAfterUs: unknown key; did you mean "deleteAfterUse"?',
    ],
    [
      'bootstrap:\n  discovery: {}',
      'config.yaml:4: bootstrap.discovery.endpoints: is required\n',
      'config.yaml:4: bootstrap.discovery.tokenFile: is required\n',
      'config.yaml:4: bootstrap.discovery.caCertHashes: is required',
    ],
    [
      discovery({ endpoints: '[]' }),
      'config.yaml:5: bootstrap.discovery.endpoints: expected at least one, found a list',
    ],
    [
      discovery({ endpoints: '["http://10.0.0.1"]' }),
      'config.yaml:5: bootstrap.discovery.endpoints[0]: expected the address of an API server, such as 10.0.0.1',
    ],
    [
      discovery({ caCertHashes: '[]' }),
      'config.yaml:7: bootstrap.discovery.caCertHashes: expected at least one, found a list',
    ],
    [
      discovery({ caCertHashes: '["sha256:12"]' }),
      'config.yaml:7: bootstrap.discovery.caCertHashes[0]: expected sha256: and 64 hexadecimal digits',
    ],
  ] as const;
  for (const [text, ...messages] of rejected) {
    it(
      `rejects ${messages[0].slice('config.yaml:'.length).trim()}`.slice(0, 79),
      async (context) => {
        await assert.rejects(load(context, text), (error) => {
          const found = describeError(error);
          for (const message of messages) assert.ok(found.includes(message), found);
          return true;
        });
      },
    );
  }

  it('warns if there is no file to remove', async (context) => {
    const text = 'bootstrap: { deleteAfterUse: true }';
    assert.deepEqual((await loadText(context, text)).warnings, [
      'bootstrap.deleteAfterUse has no effect without bootstrapKubeconfig or bootstrap.discovery',
    ]);
    const flags = { bootstrapKubeconfig: '/b.conf' };
    assert.deepEqual((await loadText(context, text, flags)).warnings, []);
  });

  it('rejects a token in place of its file, without repeating it', async (context) => {
    await assert.rejects(
      load(context, discovery({ tokenFile: 'abcdef.abcdefghijklmnop' })),
      (error) => {
        const found = describeError(error);
        assert.match(found, /config.yaml:6: bootstrap.discovery.tokenFile: is a bootstrap token/);
        assert.ok(!found.includes('abcdefghijklmnop'), found);
        return true;
      },
    );
  });
});
