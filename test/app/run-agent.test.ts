import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { TestAgent } from '../support/agent.ts';
import { TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

/** The real program on the sandbox: start, stop, and resources. */
describe('nodecertd run', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
  });
  after(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  /** Switches the approver off until disposed. */
  async function withoutApprover(
    node: TestNode,
  ): Promise<Awaited<ReturnType<typeof pendingOn>> & AsyncDisposable> {
    await controlPlane.setApproving(false);
    const pending = await pendingOn(node);
    return { ...pending, [Symbol.asyncDispose]: () => controlPlane.setApproving(true) };
  }

  it('writes its addresses to the state file, and exits with 0 on SIGTERM', async () => {
    await using node = await TestNode.create(controlPlane, 'state');
    const agent = node.start();
    const { address } = await agent.event('metrics_listening');
    await agent.event('certificate_stored');
    const state = JSON.parse(
      await readFile(join(node.directory, 'state/state.json'), 'utf8'),
    ) as Record<string, unknown>;
    assert.equal(state['pid'], agent.pid);
    assert.equal(state['metricsAddress'], address);
    assert.equal(typeof state['startedAt'], 'number');
    await agent.stop('SIGTERM');
    assert.equal(agent.exitCode, 0);
    assert.equal(agent.lines.at(-1)?.event, 'agent_stopped');
    assert.deepEqual(agent.all('enroller_lost'), []);
  });

  it('stops cleanly with a pending CSR, and remembers it', async () => {
    await using node = await TestNode.create(controlPlane, 'standing');
    await using pending = await withoutApprover(node);
    await pending.agent.stop('SIGINT');
    assert.equal(pending.agent.exitCode, 0);
    assert.deepEqual(pending.agent.all('rotation_failed'), []);
    assert.deepEqual(pending.agent.all('enroller_lost'), []);
    const text = await readFile(join(node.directory, 'state/state.json'), 'utf8');
    assert.ok(text.includes(pending.csr), text);
  });

  it('does not wait for an enroller that hangs', async () => {
    await using node = await TestNode.create(controlPlane, 'stopped');
    await using pending = await withoutApprover(node);
    process.kill(pending.enroller, 'SIGSTOP');
    await pending.agent.stop('SIGTERM');
    assert.equal(pending.agent.exitCode, 0);
    assert.throws(() => process.kill(pending.enroller, 0), { code: 'ESRCH' });
  });

  it('exits at once on the second SIGINT', async () => {
    await using node = await TestNode.create(controlPlane, 'twice');
    await using pending = await withoutApprover(node);
    process.kill(pending.enroller, 'SIGSTOP');
    try {
      process.kill(pending.agent.pid, 'SIGINT');
      await pending.agent.event('agent_stopping');
      process.kill(pending.agent.pid, 'SIGINT');
      assert.equal(await pending.agent.exit(), 1);
      assert.deepEqual(pending.agent.all('agent_stopped'), []);
    } finally {
      process.kill(pending.enroller, 'SIGKILL');
    }
  });

  it('refuses a directory in use by another agent, with a remedy', async () => {
    await using node = await TestNode.create(controlPlane, 'second');
    const first = node.start();
    await first.event('metrics_listening');
    const second = node.start();
    assert.equal(await second.exit(), 1);
    const failed = await second.event('agent_failed');
    assert.equal(failed['code'], 'STORE_LOCKED');
    assert.match(String(failed['error']), new RegExp(`pid ${first.pid}\\b`));
    assert.match(String(failed['remedy']), /Stop that agent/);
    assert.deepEqual(second.all('agent_started'), []);
    assert.equal(first.exitCode, null);
  });

  it('refuses a metrics port in use, and releases the directory', async () => {
    const taken = await listening();
    try {
      const { port } = taken.address() as { port: number };
      const metrics = { address: `127.0.0.1:${port}` };
      await using node = await TestNode.create(controlPlane, 'port', { metrics });
      const agent = node.start();
      assert.equal(await agent.exit(), 1);
      const failed = await agent.event('agent_failed');
      assert.equal(failed['code'], 'METRICS_LISTEN');
      assert.match(String(failed['error']), new RegExp(`127.0.0.1:${port}`));
      assert.ok(failed['remedy']);
      const text = (await readFile(node.configFile, 'utf8')).replace(`:${port}`, ':0');
      await writeFile(node.configFile, text);
      const again = node.start();
      await again.event('certificate_stored');
    } finally {
      taken.close();
    }
  });

  it('logs a changed configuration once, and keeps the old one', async () => {
    await using node = await TestNode.create(controlPlane, 'changed');
    const agent = node.start();
    await agent.event('certificate_stored');
    await agent.event('enroller_stopped');
    const text = await readFile(node.configFile, 'utf8');
    assert.equal((parse(text) as { nodeName: string }).nodeName, 'changed');
    await writeFile(node.configFile, `${text}# a comment\n`);
    assert.equal((await agent.event('config_changed'))['path'], node.configFile);
    assert.equal(agent.exitCode, null);
  });

  it('sets an unreadable state file aside and says why', async () => {
    await using node = await TestNode.create(controlPlane, 'unreadable');
    const agent = node.start();
    await agent.event('certificate_stored');
    await agent.stop();
    await writeFile(join(node.directory, 'state/state.json'), '{');
    const next = node.start();
    const line = await next.event('state_unreadable');
    assert.equal(line['path'], join(node.directory, 'state/state.json.corrupt'));
    assert.equal(typeof line['error'], 'string');
    await next.event('rotation_deadline');
  });
});

/** An agent with a pending CSR, and the enroller that holds its key. */
async function pendingOn(node: TestNode): Promise<{
  readonly agent: TestAgent;
  readonly csr: string;
  readonly enroller: number;
}> {
  const agent = node.start();
  const { csr } = await agent.event('csr_created');
  const { pid } = await agent.event('enroller_started');
  return { agent, csr: String(csr), enroller: Number(pid) };
}

async function listening(): Promise<Server> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
