import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import { ApiServer, sendJson } from '../kube/support/api-server.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { handlers, LeaseApi } from '../kube/support/lease-api.ts';
import type { TestAgent } from '../support/agent.ts';
import { TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { RealKubeadmTree } from '../support/kubeadm-tree.ts';
import { skipWithoutKubeadm } from '../support/kubeadm.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

const skip = skipWithoutKubeadm();

/** The real program with the certificates of kubeadm, of which two thirds of the lifetime have passed. */
describe('nodecertd run with pki.enabled', { skip }, () => {
  let controlPlane: ControlPlane;
  let tree: RealKubeadmTree;
  let api: ApiServer;
  const leases = new LeaseApi();

  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
    // kubeadm dates notBefore back by five minutes.
    tree = await RealKubeadmTree.create({ algorithm: 'ECDSA-P256', validity: '10m' });
    await age(tree.kubernetes);
    api = await startApi(tree, leases);
  });
  after(async () => {
    await api?.[Symbol.asyncDispose]();
    await tree?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  it('refuses while the clock is not synchronized, and says so', async () => {
    await using node = await TestNode.create(controlPlane, 'pki', settings(tree.kubernetes));
    const agent = await startAgent(node, 'no');
    const refused = await agent.event('pki_refused');
    assert.equal(refused['code'], 'CLOCK_UNTRUSTED');
    const { pki } = await agent.status();
    assert.deepEqual([pki?.state, pki?.failure?.code], ['refused', 'CLOCK_UNTRUSTED']);
    assert.match((await agent.get('/metrics')).text, /^nodecertd_pki_failed 1$/m);
    assert.deepEqual(leases.history, []);
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
    const holders = leases.history.map(({ spec }) => spec['holderIdentity']);
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

async function startAgent(node: TestNode, synchronized: 'yes' | 'no'): Promise<TestAgent> {
  const programs = join(node.directory, 'bin');
  await mkdir(programs, { recursive: true });
  // No time service reaches the clock of a container, so a script takes the place of timedatectl.
  await script(join(programs, 'timedatectl'), `echo NTPSynchronized=${synchronized}`);
  return node.start({ env: { PATH: `${programs}:${process.env['PATH']}` } });
}

function settings(directory: string): Readonly<Record<string, unknown>> {
  const hook = { command: [join(directory, 'hook')], retries: 0 };
  const rotation = { from: '10%', to: '11%' };
  return { pki: { enabled: true, directory, rotation, hooks: [hook] } };
}

/** Files that are older than the certificate in them, so its lifetime counts from notBefore. */
async function age(directory: string): Promise<void> {
  const time = new Date(Date.now() - hour);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), time, time);
  }
}

/** The API server of the tree's admin.conf: Leases, and this node as the only one. */
async function startApi(tree: RealKubeadmTree, leases: LeaseApi): Promise<ApiServer> {
  const read = (name: string): Promise<string> => readFile(join(tree.certificates, name), 'utf8');
  const pair = { cert: await read('apiserver.crt'), key: await read('apiserver.key') };
  const api = await ApiServer.start(() => undefined, {
    authority: await makeAuthority('unused'),
    pair,
  });
  const items = [{ metadata: { name: hostname() }, status: { addresses: [] } }];
  const ports = [{ name: 'https', port: api.port }];
  api.handler = handlers(leases.handle, ({ url = '' }, response) => {
    if (url.startsWith('/readyz')) response.end('ok');
    else if (url.startsWith('/api/v1/nodes')) sendJson(response, { items });
    else if (url.includes('/endpointslices/')) sendJson(response, { endpoints: [], ports });
    else return false;
    return true;
  });
  const admin = join(tree.kubernetes, 'admin.conf');
  const text = await readFile(admin, 'utf8');
  await writeFile(admin, text.replace(/server: .*/, `server: ${api.url}`));
  const time = new Date(Date.now() - hour);
  await utimes(admin, time, time);
  return api;
}

async function script(path: string, text: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
}
