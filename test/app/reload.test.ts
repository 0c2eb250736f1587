import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { second } from '../../src/core/instant.ts';
import { lockDirectory } from '../../src/store/directory-lock.ts';
import type { TestAgent } from '../support/agent.ts';
import { client, servingStatic, TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { NotifySocket } from '../support/notify-socket.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

type Configuration = Record<string, unknown>;

/** The real program on the sandbox, with changed configurations. */
describe('Agent.reload()', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await startSandboxControlPlane({
      signingSeconds: 3_600,
      approvingServing: true,
    });
  });
  after(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  it('adds a new certificate and keeps the existing ones', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-add');
    const agent = await started(node);
    const serial = (await node.read('kubelet-client')).serialNumber;
    const line = await reload(node, agent, (configuration) => ({
      ...configuration,
      certificates: [client, servingStatic],
    }));
    assert.deepEqual([line.event, line['changed']], ['config_reloaded', ['certificates']]);
    await agent.event('certificate_stored', 'kubelet-server');
    assert.equal((await node.read('kubelet-client')).serialNumber, serial);
    assert.equal((await controlPlane.csrs()).length, 2);
    const { text } = await agent.get('/metrics');
    assert.match(text, /^nodecertd_config_reloads_total\{result="accepted"\} 1$/m);
    assert.match(text, /^nodecertd_rotations_total\{certificate="kubelet-client"\} 1$/m);
  });

  it('moves the deadline with the rotation window, without a request', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-window');
    const agent = await started(node);
    const { serialNumber: serial } = await node.read('kubelet-client');
    const { storedAt = 0, notAfter = 0 } =
      (await agent.certificate('kubelet-client')).current ?? {};
    const lifetime = notAfter - storedAt;
    const line = await reload(node, agent, (configuration) => ({
      ...configuration,
      rotation: { from: '94%', to: '95%' },
    }));
    assert.deepEqual([line.event, line['changed']], ['config_reloaded', ['certificates']]);
    const { deadline } = await agent.event('rotation_deadline', 'kubelet-client', 2);
    const part = (Date.parse(String(deadline)) - storedAt) / lifetime;
    assert.ok(part > 0.939 && part < 0.951, `the deadline is at ${part} of the lifetime`);
    const { rotationDeadline = 0 } = await agent.certificate('kubelet-client');
    assert.equal(Math.floor(rotationDeadline / second), Date.parse(String(deadline)) / second);
    await agent.event('enroller_stopped', undefined, 2);
    assert.equal((await node.read('kubelet-client')).serialNumber, serial);
    assert.equal(agent.all('rotation_started').length, 1);
  });

  it('refuses an invalid configuration and keeps the old one', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-bad');
    const original = await readFile(node.configFile, 'utf8');
    const agent = await started(node);
    const line = await reload(node, agent, (configuration) => ({
      ...configuration,
      certDir: '/x',
    }));
    assert.deepEqual([line.event, line['code']], ['config_refused', 'CONFIG_INVALID']);
    assert.match(String(line['error']), /config\.yaml:\d+: certDir: unknown key/);
    assert.ok(line['remedy']);
    assert.equal((await agent.certificate('kubelet-client')).usable, true);
    const { text } = await agent.get('/metrics');
    assert.match(text, /^nodecertd_config_last_reload_successful 0$/m);
    const next = await reload(node, agent, () => original);
    assert.deepEqual([next.event, next['changed']], ['config_reloaded', []]);
    assert.match(
      (await agent.get('/metrics')).text,
      /^nodecertd_config_last_reload_successful 1$/m,
    );
  });

  it('changes the log level without losing a pending request', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-log');
    await controlPlane.setApproving(false);
    try {
      const agent = node.start();
      const { csr } = await agent.event('csr_created');
      const line = await reload(node, agent, (configuration) => ({
        ...configuration,
        log: { level: 'info' },
      }));
      assert.deepEqual(line['changed'], ['log']);
      await controlPlane.approve(String(csr));
      await agent.event('certificate_stored');
      assert.equal((await controlPlane.csrs()).filter(({ name }) => name === csr).length, 1);
      assert.equal(agent.all('csr_created').length, 1);
      const before = agent.all('api_request').length;
      process.kill(agent.pid, 'SIGHUP');
      await agent.event('config_reloaded', undefined, 2);
      assert.equal(agent.all('api_request').length, before);
    } finally {
      await controlPlane.setApproving(true);
    }
  });

  it('moves to other directories and another port, and releases the old', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-move');
    const agent = await started(node);
    const pki = join(node.directory, 'other-pki');
    const old = await agent.event('metrics_listening');
    const line = await reload(node, agent, (configuration) => ({
      ...configuration,
      certificateDirectory: pki,
      stateDirectory: join(node.directory, 'other-state'),
      metrics: { address: '127.0.0.2:0' },
    }));
    assert.equal(line.event, 'config_reloaded');
    await agent.event('certificate_stored', 'kubelet-client', 2);
    const { address } = await agent.event('metrics_listening', undefined, 2);
    const { metricsAddress } = JSON.parse(
      await readFile(join(node.directory, 'other-state/state.json'), 'utf8'),
    ) as { metricsAddress: string };
    assert.equal(metricsAddress, address);
    await assert.rejects(fetch(`http://${String(old['address'])}/healthz`));
    await using lock = await lockDirectory(node.pki);
    assert.equal(lock.locked, true);
    await assert.rejects(lockDirectory(pki), { code: 'STORE_LOCKED' });
  });

  it('refuses a directory or port in use, and changes nothing', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-taken');
    const agent = await started(node);
    const { address } = await agent.event('metrics_listening');
    const directory = join(node.directory, 'taken');
    await using lock = await lockDirectory(directory);
    assert.equal(lock.locked, true);
    await using busy = await listening('127.0.0.1:0');
    const original = parse(await readFile(node.configFile, 'utf8')) as Configuration;
    const log = { level: 'error' };
    for (const [change, code] of [
      [{ certificateDirectory: directory, log }, 'STORE_LOCKED'],
      [
        { metrics: { address: busy.address }, certificateDirectory: `${directory}-2` },
        'METRICS_LISTEN',
      ],
    ] as const) {
      const line = await reload(node, agent, () => ({ ...original, ...change }));
      assert.deepEqual([line.event, line['code']], ['config_refused', code]);
    }
    assert.equal((await fetch(`http://${String(address)}/healthz`)).status, 200);
    // The lock on the second directory was released.
    await using other = await lockDirectory(`${directory}-2`);
    assert.equal(other.locked, true);
  });

  it('moves the port to another address, or keeps the old address', async () => {
    await using free = await listening('127.0.0.1:0');
    const port = free.address.split(':')[1] ?? '';
    await free[Symbol.asyncDispose]();
    const metrics = { address: `127.0.0.1:${port}` };
    await using node = await TestNode.create(controlPlane, 'reload-address', { metrics });
    const agent = await started(node);
    const on = (host: string) => (configuration: Configuration) => ({
      ...configuration,
      metrics: { address: `${host}:${port}` },
    });
    await using busy = await listening(`127.0.0.2:${port}`);
    const refused = await reload(node, agent, on('127.0.0.2'));
    assert.deepEqual([refused.event, refused['code']], ['config_refused', 'METRICS_LISTEN']);
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
    await busy[Symbol.asyncDispose]();
    assert.equal((await reload(node, agent, on('127.0.0.2'))).event, 'config_reloaded');
    assert.equal((await fetch(`http://127.0.0.2:${port}/healthz`)).status, 200);
  });

  it('tells the service manager about ready, reload, and stop', async () => {
    await using node = await TestNode.create(controlPlane, 'reload-notify');
    using socket = new NotifySocket();
    const env = { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: '4000000' };
    const agent = await started(node, env);
    await socket.until(/^READY=1$/);
    await socket.until(/^STATUS=1 of 1 certificates valid, next rotation kubelet-client in/);
    const fed = socket.received.filter((text) => text === 'WATCHDOG=1').length;
    while (socket.received.filter((text) => text === 'WATCHDOG=1').length < fed + 2) {
      await socket.until(/^WATCHDOG=1$/);
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
    await reload(node, agent, (configuration) => configuration);
    await socket.until(/^RELOADING=1$/);
    await socket.until(/^MONOTONIC_USEC=\d+$/);
    await agent.stop();
    const states = socket.received.filter((text) => /^(READY|RELOADING|STOPPING)=/.test(text));
    assert.deepEqual(states, ['READY=1', 'RELOADING=1', 'READY=1', 'STOPPING=1']);
  });
});

async function started(node: TestNode, env: Record<string, string> = {}): Promise<TestAgent> {
  const agent = node.start({ env });
  await agent.event('certificate_stored');
  await agent.event('enroller_stopped');
  return agent;
}

/** Changes the file, sends SIGHUP, and returns the log line with the result. */
async function reload(
  node: TestNode,
  agent: TestAgent,
  change: (configuration: Configuration) => unknown,
): Promise<TestAgent['lines'][number]> {
  const text = await readFile(node.configFile, 'utf8');
  const changed = change(parse(text) as Configuration);
  await writeFile(node.configFile, typeof changed === 'string' ? changed : stringify(changed));
  const known = ['config_reloaded', 'config_refused'] as const;
  const counts = known.map((event) => agent.all(event).length);
  process.kill(agent.pid, 'SIGHUP');
  const line = await Promise.race(
    known.map((event, index) => agent.event(event, undefined, (counts[index] ?? 0) + 1)),
  );
  return line;
}

/** A port in use by another program; closing it twice is harmless. */
async function listening(place: string): Promise<AsyncDisposable & { readonly address: string }> {
  const [host = '', port = ''] = place.split(':');
  const server = createServer();
  server.listen(Number(port), host);
  await once(server, 'listening');
  const { address, port: bound } = server.address() as AddressInfo;
  return {
    address: `${address}:${bound}`,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
  };
}
