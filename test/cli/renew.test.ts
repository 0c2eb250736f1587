import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { minute } from '../../src/core/instant.ts';
import { client, servingStatic, TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { scaled } from '../support/machine-speed.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const main = join(import.meta.dirname, '../../src/main.ts');

function renew(node: TestNode, ...args: readonly string[]): Promise<Result> {
  return new Promise((resolve) => {
    const command = [main, 'renew', '--config', node.configFile, ...args];
    execFile(process.execPath, command, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const withHook = (program: string): Record<string, unknown> => ({
  certificates: [{ ...client, onRotate: [{ command: [program], retries: 0 }] }],
});

describe('nodecertd renew', () => {
  const certificates = [client, servingStatic];
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

  it('renews every certificate, reports progress, and shows the new ones', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-all', { certificates });
    const agent = node.start();
    await agent.event('certificate_stored', 'kubelet-server');
    const old = await node.read('kubelet-client');
    const { code, stdout, stderr } = await renew(node);
    assert.equal(code, 0, stderr);
    const { serialNumber } = await node.read('kubelet-client');
    assert.notEqual(serialNumber, old.serialNumber);
    assert.match(
      stdout,
      /^CERTIFICATE +RESULT +EXPIRES +SERIAL\nkubelet-client +renewed .*\nkubelet-server +renewed /,
    );
    assert.match(stderr, /^kubelet-client: renewed$/m);
    const [, second] = agent.all('rotation_started', 'kubelet-client');
    assert.equal(second?.['reason'], 'renewal');
  });

  it('renews only the named certificates, as JSON', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-one', { certificates });
    const agent = node.start();
    await agent.event('certificate_stored', 'kubelet-server');
    const old = await node.read('kubelet-client');
    const { code, stdout } = await renew(node, 'kubelet-server', '-o', 'json');
    const found = JSON.parse(stdout) as { certificates: { name: string; serial: string }[] };
    const { serialNumber } = await node.read('kubelet-server');
    assert.deepEqual(
      found.certificates.map(({ name, serial }) => [name, BigInt(`0x${serial}`)]),
      [['kubelet-server', BigInt(`0x${serialNumber}`)]],
    );
    assert.equal(code, 0);
    assert.equal((await node.read('kubelet-client')).serialNumber, old.serialNumber);
  });

  it('stops waiting at the timeout, and says what it waits for', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-pending', { certificates });
    const agent = node.start();
    await agent.event('certificate_stored', 'kubelet-server');
    await controlPlane.setApproving(false);
    try {
      const waited = await renew(node, 'kubelet-client', '--timeout', `${scaled(4)}s`);
      assert.equal(waited.code, 1);
      const { csr } = await agent.event('csr_created', 'kubelet-client', 2);
      const approve = `kubectl certificate approve ${String(csr)}`;
      assert.ok(waited.stderr.includes(approve), waited.stderr);
      assert.match(
        waited.stderr,
        /not renewed within \d+s: kubelet-client; the agent keeps trying \(RENEWAL_PENDING\)\n {2}→ Approve the CSR: kubectl certificate approve node-csr-/,
      );
      assert.match(waited.stdout, /kubelet-client +pending-approval/);
      const asked = await renew(node, 'kubelet-client', '--timeout', '0s');
      assert.equal(asked.code, 0);
      // Both commands resume the same pending CSR.
      assert.equal(agent.all('csr_created', 'kubelet-client').length, 2);
    } finally {
      await controlPlane.setApproving(true);
    }
  });

  it('ends at once after a failure whose next attempt is after the timeout', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-denied');
    const agent = node.start();
    await agent.event('certificate_stored');
    await controlPlane.setApproving(false);
    try {
      const waiting = renew(node, 'kubelet-client', '-o', 'json');
      const { csr } = await agent.event('csr_created', 'kubelet-client', 2);
      await controlPlane.deny(String(csr), 'unknown node');
      const { code, stdout, stderr } = await waiting;
      assert.equal(code, 1);
      const [{ nextAttempt = '' } = {}] = (
        JSON.parse(stdout) as {
          readonly certificates: readonly { readonly nextAttempt?: string }[];
        }
      ).certificates;
      assert.ok(Date.parse(nextAttempt) > Date.now() + 30 * minute);
      const line = `not renewed: kubelet-client; the agent tries again at ${nextAttempt} (RENEWAL_PENDING)\n  → Ask the cluster administrator why`;
      assert.ok(stderr.includes(line), stderr);
    } finally {
      await controlPlane.setApproving(true);
    }
  });

  it('waits for the hooks, and exits with 1 if one fails', async () => {
    await using well = await TestNode.create(controlPlane, 'renew-hook', withHook('/bin/true'));
    await well.start().event('hook_succeeded');
    const renewed = await renew(well);
    assert.deepEqual([renewed.code, renewed.stderr.includes('HOOK_FAILED')], [0, false]);
    await using bad = await TestNode.create(controlPlane, 'renew-bad-hook', withHook('/bin/false'));
    await bad.start().event('hook_failed');
    const failed = await renew(bad, '-o', 'json');
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /hook \/bin\/false failed with exit code 1 \(HOOK_FAILED\)\n  → /);
    const [document] = (JSON.parse(failed.stdout) as { certificates: { result: string }[] })
      .certificates;
    assert.equal(document?.result, 'renewed');
  });

  it('skips certificates that the kubelet rotates, and says so', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-observed', {
      certificates,
      kubelet: { configFile: 'kubelet.yaml', certificateDirectory: 'pki' },
    });
    const first = node.start();
    await first.event('certificate_stored', 'kubelet-server');
    await first.stop();
    const kubelet = join(node.directory, 'kubelet.yaml');
    await writeFile(kubelet, 'rotateCertificates: true\n');
    const agent = node.start();
    await agent.event('deferring_to_kubelet', 'kubelet-client');
    const old = await node.read('kubelet-client');
    const one = await renew(node);
    assert.equal(one.code, 0, one.stderr);
    assert.match(one.stderr, /^kubelet-client: skipped, because the kubelet rotates it$/m);
    assert.match(one.stdout, /^CERTIFICATE .*\nkubelet-server +renewed .*\n$/);
    assert.equal((await node.read('kubelet-client')).serialNumber, old.serialNumber);
    await writeFile(kubelet, 'rotateCertificates: true\nserverTLSBootstrap: true\n');
    await agent.event('deferring_to_kubelet', 'kubelet-server');
    for (const names of [[], ['kubelet-client']]) {
      const none = await renew(node, ...names);
      assert.equal(none.code, 2);
      assert.match(
        none.stderr,
        /the kubelet rotates kubelet-client.* itself .*\n.*nodecertd adopt/,
      );
    }
  });

  it('rejects an unknown name, and renews nothing', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-unknown', { certificates });
    const agent = node.start();
    await agent.event('certificate_stored', 'kubelet-server');
    const { code, stderr } = await renew(node, 'kubelet-client', 'kubelet-servre');
    assert.equal(code, 2);
    assert.match(
      stderr,
      /no certificate with the name kubelet-servre is configured \(USAGE\)\n  → Choose one of: kubelet-client, kubelet-server/,
    );
    assert.equal(agent.all('rotation_started', 'kubelet-client').length, 1);
  });

  it('says that no agent is running, has run, or accepts commands', async () => {
    await using node = await TestNode.create(controlPlane, 'renew-absent', { certificates });
    const never = await renew(node);
    assert.equal(never.code, 1);
    assert.match(never.stderr, /no agent has run .*\(AGENT_UNREACHABLE\)\n  → Start the agent/);
    const agent = node.start();
    await agent.event('certificate_stored', 'kubelet-server');
    await agent.stop('SIGKILL');
    const killed = await renew(node);
    assert.match(killed.stderr, /control\.sock: no agent listens on this socket/);
    const file = join(node.directory, 'state/state.json');
    const { controlSocket: _, ...state } = JSON.parse(await readFile(file, 'utf8')) as Record<
      string,
      unknown
    >;
    await writeFile(file, JSON.stringify(state));
    const refused = await renew(node);
    assert.match(
      refused.stderr,
      /accepts no commands \(AGENT_UNREACHABLE\)\n  → Find the control_unavailable/,
    );
  });
});
