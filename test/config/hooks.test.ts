import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import { templateOf } from '../../src/core/identity.ts';
import { describeError } from '../../src/core/errors.ts';
import { second } from '../../src/core/instant.ts';

let directory = '';
let file = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-hooks-config-'));
  file = join(directory, 'config.yaml');
});
after(async () => {
  await rm(directory, { recursive: true });
});

const serving = { name: 'kubelet-server', profile: 'kubelet-serving' };

/** The certificate of a configuration with these keys. */
async function load(keys: Readonly<Record<string, unknown>>): Promise<CertificateSpec> {
  const certificates = [{ ...serving, ...keys }];
  const head = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'AgentConfiguration' };
  await writeFile(file, stringify({ ...head, certificates }));
  const environment = { hostName: 'worker-1', workingDirectory: '/' };
  const [spec] = (await loadConfig({ file, flags: {}, environment })).certificates;
  assert.ok(spec !== undefined);
  return spec;
}

async function problemOf(keys: Readonly<Record<string, unknown>>): Promise<string> {
  try {
    await load(keys);
  } catch (error) {
    return describeError(error).replace(/^.*?certificates\[0\]\.?/s, '');
  }
  return 'none';
}

describe('loadConfig() on hooks and served certificates', () => {
  it('has no hooks by default', async () => {
    for (const keys of [{}, { onRotate: [] }]) {
      const spec = await load(keys);
      assert.equal('onRotate' in spec, false);
      assert.equal('served' in spec, false);
    }
  });

  it('reads each kind of hook, in order, with its defaults', async () => {
    const { onRotate } = await load({
      onRotate: [
        { command: ['/usr/local/bin/deploy', '--now', ''] },
        { systemctl: 'reload-or-restart', unit: 'nginx.service', timeout: '2m', retries: 0 },
        { signal: 'SIGUSR2', unit: String.raw`haproxy@a\x2db.service` },
      ],
    });
    const limits = { timeoutMs: 30 * second, retries: 2 };
    assert.deepEqual(onRotate, [
      { kind: 'command', argv: ['/usr/local/bin/deploy', '--now', ''], ...limits },
      {
        kind: 'systemctl',
        verb: 'reload-or-restart',
        unit: 'nginx.service',
        timeoutMs: 120 * second,
        retries: 0,
      },
      { kind: 'signal', signal: 'SIGUSR2', unit: String.raw`haproxy@a\x2db.service`, ...limits },
    ]);
  });

  it('reads endpoints by address and by name', async () => {
    const endpoints = ['127.0.0.1:10250', '[::1]:10250', 'Worker-1.example.com:443'];
    assert.deepEqual((await load({ served: { endpoints } })).served, {
      endpoints: [
        { name: '127.0.0.1:10250', host: '127.0.0.1', port: 10_250 },
        { name: '[::1]:10250', host: '::1', port: 10_250 },
        { name: 'Worker-1.example.com:443', host: 'worker-1.example.com', port: 443 },
      ],
      withinMs: 30 * second,
      onFailure: 'report',
    });
    const given = { endpoints, serverName: 'Worker-1', within: '5s', onFailure: 'rollback' };
    const { served } = await load({ served: given });
    assert.equal(served?.serverName, 'worker-1');
    assert.equal(served?.withinMs, 5 * second);
    assert.equal(served?.onFailure, 'rollback');
  });

  it('does not change the certificate itself', async () => {
    const addresses = { dnsNames: ['worker-1'], ipAddresses: ['10.0.0.1'] };
    const plain = await load({});
    const spec = await load({
      onRotate: [{ systemctl: 'reload', unit: 'a.service' }],
      served: { endpoints: ['127.0.0.1:1'] },
    });
    assert.deepEqual(templateOf(spec, addresses), templateOf(plain, addresses));
  });

  it('accepts hooks for the client certificate too', async () => {
    const client = { name: 'kubelet-client', profile: 'kubelet-client' };
    const onRotate = [{ signal: 'SIGHUP', unit: 'kubelet.service' }];
    assert.equal((await load({ ...client, onRotate })).onRotate?.length, 1);
    const served = { endpoints: ['127.0.0.1:1'] };
    assert.match(await problemOf({ ...client, served }), /^served: does not apply to profile/);
  });

  const hooks: readonly (readonly [string, unknown, RegExp])[] = [
    ['no kind of hook', {}, /^onRotate\[0\]: a hook needs one of command, systemctl, signal$/],
    [
      'two kinds at once',
      { command: ['/bin/a'], signal: 'SIGHUP', unit: 'a.service' },
      /^onRotate\[0\]\.signal: a hook cannot have both command and signal: write two hooks$/,
    ],
    ['an unknown key', { comand: ['/bin/a'] }, /onRotate\[0\]\.comand: .*did you mean "command"/],
    ['a shell line', { command: 'nginx -s reload' }, /command: expected a list, found "nginx/],
    ['an empty command', { command: [] }, /command: expected a program/],
    ['a relative program', { command: ['bin/a'] }, /command: expected the absolute path/],
    [
      'a program with NUL',
      { command: ['/bin/a', 'b\0'] },
      /command\[1\]: expected a string without/,
    ],
    ['an unknown verb', { systemctl: 'relod', unit: 'a.service' }, /did you mean "reload"/],
    ['an unknown signal', { signal: 'HUP', unit: 'a.service' }, /signal: expected one of SIGHUP/],
    ['no unit', { systemctl: 'reload' }, /unit: is required: systemctl needs the name of a unit/],
    [
      'a unit of a command',
      { command: ['/bin/a'], unit: 'a.service' },
      /unit: belongs to systemctl/,
    ],
    ['a unit without its kind', { systemctl: 'reload', unit: 'nginx' }, /such as nginx\.service/],
    ['a pattern for units', { systemctl: 'restart', unit: '*.service' }, /such as nginx\.service/],
    ['an option for a unit', { systemctl: 'reload', unit: '-H.service' }, /such as nginx\.service/],
    [
      'a signal to a target',
      { signal: 'SIGHUP', unit: 'a.target' },
      /only a \.service unit has a main/,
    ],
    ['a timeout of 0s', { command: ['/bin/a'], timeout: '0s' }, /timeout: expected at least 1s/],
    ['a timeout of a day', { command: ['/bin/a'], timeout: '24h' }, /timeout: expected at most 1h/],
    ['a timeout without unit', { command: ['/bin/a'], timeout: '30' }, /expected a duration such/],
    ['eleven retries', { command: ['/bin/a'], retries: 11 }, /retries: expected at most 10/],
    ['half a retry', { command: ['/bin/a'], retries: 0.5 }, /retries: expected a whole number/],
  ];
  for (const [what, hook, expected] of hooks) {
    it(`refuses ${what} and names the place`, async () => {
      assert.match(await problemOf({ onRotate: [hook] }), expected);
    });
  }

  const at = ['127.0.0.1:1'];
  const servings: readonly (readonly [string, unknown, RegExp])[] = [
    ['no endpoints', {}, /served\.endpoints: is required/],
    ['an empty list', { endpoints: [] }, /endpoints: expected at least one/],
    ['an endpoint without port', { endpoints: ['a'] }, /endpoints\[0\]: expected host:port/],
    ['port 0', { endpoints: ['a:0'] }, /endpoints\[0\]: expected host:port/],
    ['a URL', { endpoints: ['https://a:443'] }, /endpoints\[0\]: expected host:port/],
    [
      'a pattern as server name',
      { endpoints: at, serverName: '*.a' },
      /serverName: expected a host name/,
    ],
    [
      'an address as server name',
      { endpoints: at, serverName: '10.0.0.1' },
      /expected a host name/,
    ],
    ['an unknown onFailure', { endpoints: at, onFailure: 'rolback' }, /did you mean "rollback"/],
    ['a long wait', { endpoints: at, within: '5m' }, /within: expected at most 4m/],
    ['an unknown key', { endpoints: at, servername: 'a' }, /did you mean "serverName"/],
  ];
  for (const [what, served, expected] of servings) {
    it(`refuses ${what} of served`, async () => {
      assert.match(await problemOf({ served }), expected);
    });
  }

  it('refuses served for a client certificate', async () => {
    const custom = {
      name: 'a',
      profile: 'custom',
      signerName: 'a.b/c',
      subject: { commonName: 'a' },
    };
    const keys = { ...custom, usages: ['client auth'], served: { endpoints: at } };
    assert.match(
      await problemOf(keys),
      /^served: only a serving certificate can be checked on servers/,
    );
  });
});
