import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { TestNode } from '../support/agent.ts';
import { skip } from '../support/programs.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../src/main.ts');

/** A UTS namespace has a host name of its own; some containers forbid it. */
const probe = spawnSync('unshare', ['--map-root-user', '--uts', 'hostname', 'localhost']);
const skipped = probe.status === 0 ? false : skip('tests that need a namespace for a host name');

/** A script that runs the program on a machine with this host name, under one process id. */
async function machineNamed(hostName: string, node: TestNode): Promise<string> {
  const script = join(node.directory, 'nodecertd.sh');
  const inner = `hostname ${hostName} && exec "$0" "$@"`;
  const command = `unshare --map-root-user --uts sh -c '${inner}' ${process.execPath} ${main} "$@"`;
  await writeFile(script, `#!/bin/sh\nexec ${command}\n`, { mode: 0o755 });
  return script;
}

/** The configuration without a node name, unless one is given. */
async function configureNodeName(node: TestNode, nodeName?: string): Promise<void> {
  const { nodeName: _, ...rest } = parse(await readFile(node.configFile, 'utf8')) as object & {
    nodeName?: string;
  };
  await writeFile(node.configFile, stringify({ ...rest, ...(nodeName && { nodeName }) }));
}

async function output(script: string, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(script, args).catch(
    (error: { readonly stdout: string; readonly stderr: string }) => error,
  );
  return stdout + stderr;
}

describe('nodecertd on a machine named localhost', { skip: skipped }, () => {
  it('waits for the host name, says so everywhere, and bootstraps under the new one', async () => {
    await using controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
    await using node = await TestNode.create(controlPlane, 'named-late');
    await configureNodeName(node);
    const command = await machineNamed('LOCALHOST.localdomain', node);
    const agent = node.start({ command });
    const { error, remedy } = await agent.event('host_name_missing');
    assert.match(String(error), /host name "localhost\.localdomain" cannot name a Node/);
    assert.match(String(remedy), /hostnamectl set-hostname/);
    assert.equal((await agent.status()).placeholderHostName, 'localhost.localdomain');
    const ready = await agent.get('/readyz');
    assert.deepEqual([ready.code, ready.text], [503, `${String(error)}\n`]);
    const config = ['--config', node.configFile];
    for (const args of [['status'], ['run', '--check'], ['doctor']]) {
      const text = await output(command, ...args, ...config);
      assert.ok(text.includes(String(error)), `${args.join(' ')}: ${text}`);
      assert.ok(text.includes(String(remedy)), `${args.join(' ')}: ${text}`);
    }
    assert.match(await output(command, 'renew', 'kubelet-client', ...config), /cannot name a Node/);
    assert.deepEqual(agent.all('csr_created'), []);

    const namespaces = ['--target', String(agent.pid), '--user', '--uts', '--preserve-credentials'];
    await run('nsenter', [...namespaces, 'hostname', 'named-late']);
    assert.equal((await agent.event('agent_started'))['node'], 'named-late');
    await agent.event('certificate_stored');
    assert.match((await node.read('kubelet-client')).subject, /CN=system:node:named-late$/);
    assert.equal(agent.all('host_name_missing').length, 1);
    assert.equal((await agent.status()).placeholderHostName, undefined);
    await agent.stop();
    assert.equal(agent.exitCode, 0);
  });

  it('accepts a configured node name of localhost', async () => {
    await using controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
    await using node = await TestNode.create(controlPlane, 'named-so');
    await configureNodeName(node, 'localhost');
    const agent = node.start({ command: await machineNamed('localhost', node) });
    await agent.event('certificate_stored');
    assert.match((await node.read('kubelet-client')).subject, /CN=system:node:localhost$/);
    assert.deepEqual(agent.all('host_name_missing'), []);
  });

  it('stops at once while it waits', async () => {
    await using controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
    await using node = await TestNode.create(controlPlane, 'named-never');
    await configureNodeName(node);
    const agent = node.start({ command: await machineNamed('localhost', node) });
    await agent.event('host_name_missing');
    await agent.stop();
    assert.equal(agent.exitCode, 0);
    assert.deepEqual(agent.all('agent_started'), []);
  });
});
