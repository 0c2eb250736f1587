import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import type { ApiAccess } from '../../src/enroller/api-access.ts';
import { Bench } from './fixtures.ts';

const v1 = 'client.authentication.k8s.io/v1';

const ask = async (access: ApiAccess): Promise<unknown> => {
  const { signal } = new AbortController();
  return access.current().request({ verb: 'get', path: '/version', signal }, v.unknown());
};

const sources = (bench: Bench): string[] => bench.all('credential').map(({ source }) => source);

describe('ApiAccess', () => {
  it('uses a valid kubeconfig', async () => {
    await using bench = await Bench.create();
    await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await using access = bench.access();
    await access.ready();
    const first = access.current();
    await ask(access);
    await access.ready();
    assert.equal(access.current(), first);
    assert.deepEqual(sources(bench), ['kubeconfig']);
    assert.deepEqual(
      bench.all('api-request').map(({ verb, code }) => [verb, code]),
      [['get', '200']],
    );
    assert.deepEqual(
      bench.all('clock-skew').map(({ ms }) => ms),
      [0],
    );
  });

  it('bootstraps without a kubeconfig, and reads the token for each attempt', async () => {
    await using bench = await Bench.create();
    const good = bench.sandbox.bootstrapKubeconfig();
    await bench.writeBootstrap(good.replace(/token: .*/, 'token: abcdef.0123456789abcdef'));
    await using access = bench.access();
    await access.ready();
    await assert.rejects(ask(access), { code: 'API_UNAUTHORIZED' });
    await bench.writeBootstrap(good);
    await access.ready();
    await ask(access);
    assert.deepEqual(sources(bench), ['bootstrap']);
  });

  it('opened() keeps a usable client and its open requests', async () => {
    await using bench = await Bench.create();
    await using access = bench.access();
    await access.opened();
    const client = access.current();
    assert.equal(access.source, 'bootstrap');
    await access.opened();
    assert.equal(access.current(), client);
    access.invalidate();
    await access.opened();
    assert.notEqual(access.current(), client);
  });

  it('bootstraps when the client certificate has expired', async () => {
    await using bench = await Bench.create({ caSeconds: 1 });
    await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await using access = bench.access();
    const expired = Date.now() + 1_100;
    while (Date.now() < expired) await new Promise(setImmediate);
    await access.ready();
    assert.equal(access.source, 'bootstrap');
  });

  it('bootstraps with an exec plugin, and retries after the plugin failed', async () => {
    await using bench = await Bench.create();
    const good = bench.sandbox.bootstrapKubeconfig();
    const token = /token: (.*)/.exec(good)?.[1] ?? '';
    const plugin = join(bench.directory, 'plugin');
    const answer = `{"kind": "ExecCredential", "apiVersion": "${v1}", "status": {"token": "${token}"}}`;
    await writeFile(plugin, '#!/bin/sh\necho "cannot reach the cloud" >&2; exit 3\n', {
      mode: 0o755,
    });
    const exec = JSON.stringify({ apiVersion: v1, command: './plugin', interactiveMode: 'Never' });
    await bench.writeBootstrap(good.replace(/token: .*/, `exec: ${exec}`));
    await using access = bench.access();
    await access.ready();
    await assert.rejects(ask(access), {
      code: 'PLUGIN_FAILED',
      message: /cannot reach the cloud$/,
    });
    await writeFile(plugin, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
    await access.ready();
    await ask(access);
    assert.deepEqual(sources(bench), ['bootstrap']);
  });

  it('reports both files if both are unusable', async () => {
    await using bench = await Bench.create();
    const { kubeconfig, bootstrapKubeconfig = '' } = bench.config;
    await rm(bootstrapKubeconfig);
    await using access = bench.access();
    await assert.rejects(access.ready(), (error: Error) => {
      assert.ok(error.message.includes(kubeconfig), error.message);
      assert.ok(error.message.includes(bootstrapKubeconfig), error.message);
      return true;
    });
    assert.throws(() => access.current(), { code: 'INTERNAL' });
  });

  it('invalidate() makes the next attempt read the files again', async () => {
    await using bench = await Bench.create();
    await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await using access = bench.access();
    await access.ready();
    const first = access.current();
    access.invalidate();
    await access.ready();
    assert.notEqual(access.current(), first);
  });

  it('refresh() opens new connections, lets requests finish and wipes the old key', async () => {
    await using bench = await Bench.create();
    await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await using access = bench.access();
    await access.ready();
    const old = access.current();
    const underWay = ask(access);
    await access.refresh();
    assert.notEqual(access.current(), old);
    await underWay;
    await ask(access);
    await access[Symbol.asyncDispose]();
    const key = old.access.credential.clientCertificate?.key.expose();
    assert.ok(key !== undefined && key.every((byte) => byte === 0));
  });

  it('refresh() during another refresh() reads the files once more', async () => {
    await using bench = await Bench.create();
    await using access = bench.access();
    const before = access.refresh();
    await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await Promise.all([before, access.refresh(), access.refresh()]);
    assert.equal(access.source, 'kubeconfig');
  });

  it('keeps a working client when the files become unusable', async () => {
    await using bench = await Bench.create();
    await using access = bench.access();
    await access.ready();
    await bench.writeBootstrap('{}');
    await assert.rejects(access.refresh(), { code: 'KUBECONFIG_INVALID' });
    await ask(access);
  });

  it('reports an unverified connection', async () => {
    await using bench = await Bench.create();
    const text = bench.sandbox
      .bootstrapKubeconfig()
      .replace(/certificate-authority-data: .*/, 'insecure-skip-tls-verify: true');
    await bench.writeBootstrap(text);
    await using access = bench.access();
    await access.ready();
    assert.deepEqual(bench.all('insecure'), [{ type: 'insecure', server: bench.sandbox.server }]);
  });
});
