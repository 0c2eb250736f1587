import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestAgent } from '../support/agent.ts';
import { client, TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { DueKubeadmTree } from '../support/due-kubeadm-tree.ts';
import type { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

const skip = skipWithoutKubeadm();

/** The real program with the certificates of kubeadm, which are due. */
describe('nodecertd run with pki.enabled', { skip }, () => {
  let controlPlane: ControlPlane;
  let due: DueKubeadmTree;
  let tree: RealKubeadmTree;

  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
    due = await DueKubeadmTree.create(hostname());
    ({ tree } = due);
  });
  after(async () => {
    await due?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  it('refuses while the clock is not synchronized, and says so', async () => {
    await using node = await TestNode.create(controlPlane, 'pki', settings(tree.kubernetes));
    const agent = await startAgent(node, 'no');
    const refused = await agent.event('pki_refused');
    assert.equal(refused['code'], 'CLOCK_UNTRUSTED');
    const command = (await readFile(join(node.directory, 'bin/parent'), 'utf8')).replaceAll(
      '\0',
      ' ',
    );
    assert.match(command, / --secure-heap=262144 .* certs renew --unattended /);
    assert.match(command, / GLIBC_TUNABLES=\S*glibc\.malloc\.perturb=165/);
    const { pki } = await agent.status();
    assert.deepEqual([pki?.state, pki?.failure?.code], ['refused', 'CLOCK_UNTRUSTED']);
    assert.match((await agent.get('/metrics')).text, /^nodecertd_pki_failed 1$/m);
    assert.deepEqual(due.leases.history, []);
  });

  it('reports no failure if it is stopped during a check that ends first', async () => {
    const hook = join(tree.root, 'slow-hook');
    // Delays the end of the agent, because it ignores SIGTERM.
    await script(hook, "trap '' TERM; while :; do sleep 1; done");
    const certificates = [{ ...client, onRotate: [{ command: [hook] }] }];
    const both = { ...settings(tree.kubernetes), certificates };
    await using node = await TestNode.create(controlPlane, 'pki', both);
    const asked = Promise.withResolvers<void>();
    due.leases.onWrite = () => {
      asked.resolve();
      return true;
    };
    const agent = await startAgent(node, 'yes');
    await agent.event('hook_started');
    await asked.promise;
    // The service manager signals every process of the service.
    process.kill(agent.pid, 'SIGTERM');
    process.kill(commandOf(node), 'SIGTERM');
    await agent.exit();
    assert.deepEqual(agent.all('pki_failed'), []);
    assert.equal(agent.all('agent_stopped').length, 1);
    due.leases.onWrite = () => false;
  });

  it('renews every certificate, with the Lease, and runs the hooks', async () => {
    const written = join(tree.root, 'renewed');
    await script(join(tree.kubernetes, 'hook'), `echo "$NODECERTD_CERTIFICATES" > ${written}`);
    const path = join(tree.certificates, 'apiserver.crt');
    const before = new X509Certificate(await readFile(path));
    await using node = await TestNode.create(controlPlane, 'pki', settings(tree.kubernetes));
    const agent = await startAgent(node, 'yes');
    const { certificates } = await agent.event('pki_renewed');
    assert.ok(Array.isArray(certificates) && certificates.includes('apiserver'));
    const renewed = new X509Certificate(await readFile(path));
    assert.notEqual(renewed.serialNumber, before.serialNumber);
    assert.ok(renewed.validToDate > before.validToDate);
    await agent.event('hook_succeeded', tree.kubernetes);
    assert.equal(await readFile(written, 'utf8'), `${certificates.join(' ')}\n`);
    const holders = due.leases.history.map(({ spec }) => spec['holderIdentity']);
    assert.ok(holders.some((holder) => String(holder).includes(hostname())));
    const { pki } = await agent.status();
    assert.equal(pki?.state, 'renewed');
    assert.ok(pki.lastSuccess !== undefined);
    assert.match(
      (await agent.get('/metrics')).text,
      /^nodecertd_pki_renewals_total\{result="succeeded"\} 1$/m,
    );
    const page = (await agent.get('/')).text;
    assert.ok(page.includes(`<h2>${tree.kubernetes}</h2>`));
  });
});

describe('nodecertd run after a renewal that was killed', { skip }, () => {
  it('runs the hooks, once', async () => {
    await using controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
    await using due = await DueKubeadmTree.create(hostname());
    const { kubernetes } = due.tree;
    const written = join(due.tree.root, 'renewed');
    await script(join(kubernetes, 'hook'), `echo "$NODECERTD_CERTIFICATES" >> ${written}`);
    await using node = await TestNode.create(controlPlane, 'pki', settings(kubernetes));
    // Everything is renewed when the command releases the Lease.
    due.leases.onWrite = (_, { spec }) => {
      const isRelease = typeof spec['holderIdentity'] !== 'string';
      if (isRelease) process.kill(commandOf(node), 'SIGKILL');
      return isRelease;
    };
    const first = await startAgent(node, 'yes');
    const failed = await first.event('pki_failed');
    assert.match(String(failed['error']), /was killed by SIGKILL$/);
    assert.deepEqual(first.all('hook_started'), []);
    await first.stop();

    const second = await startAgent(node, 'yes');
    const { certificates } = await second.event('pki_renewed');
    assert.ok(Array.isArray(certificates) && certificates.includes('apiserver'));
    await second.event('hook_succeeded', kubernetes);
    const { pki } = await second.status();
    assert.ok(pki?.lastSuccess !== undefined);
    await second.stop();

    const third = await startAgent(node, 'yes');
    await checked(third);
    assert.deepEqual([third.all('pki_renewed'), third.all('hook_started')], [[], []]);
    assert.equal(await readFile(written, 'utf8'), `${certificates.join(' ')}\n`);
  });
});

/** The process of `certs renew --unattended`. */
function commandOf({ directory }: TestNode): number {
  return Number(readFileSync(join(directory, 'bin/pid')));
}

/** Waits for the end of the first call. */
async function checked(agent: TestAgent): Promise<void> {
  while ((await agent.status()).pki?.nextCheck === undefined) await delay(20);
}

async function startAgent(node: TestNode, synchronized: 'yes' | 'no'): Promise<TestAgent> {
  const programs = join(node.directory, 'bin');
  await mkdir(programs, { recursive: true });
  // No time service reaches the clock of a container, so a script takes the place of timedatectl.
  await script(
    join(programs, 'timedatectl'),
    `cd /proc/$PPID; cat cmdline environ > ${programs}/parent; echo $PPID > ${programs}/pid; echo NTPSynchronized=${synchronized}`,
  );
  return node.start({ env: { PATH: `${programs}:${process.env['PATH']}` } });
}

function settings(directory: string): Readonly<Record<string, unknown>> {
  const hook = { command: [join(directory, 'hook')], retries: 0 };
  const rotation = { from: '10%', to: '11%' };
  return { pki: { enabled: true, directory, rotation, hooks: [hook] } };
}

async function script(path: string, text: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
}
