import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { findKubectl, skipWithoutKubectl } from './kubectl.ts';
import { csrBody, makeRequest, run, servingSpec, waitFor } from './fixtures.ts';
import type { Running } from './fixtures.ts';

function columns(line: string | undefined): string[] {
  return (line ?? '').trim().split(/\s+/);
}

describe('kubectl', { skip: skipWithoutKubectl(), timeout: 60_000 }, () => {
  let running: Running;
  let directory: string;
  before(async () => {
    running = await run();
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-kubectl-'));
    await writeFile(join(directory, 'admin.conf'), running.sandbox.adminKubeconfig());
    await writeFile(join(directory, 'bootstrap.conf'), running.sandbox.bootstrapKubeconfig());
    const { pem } = await makeRequest({ ipAddresses: ['10.0.0.1'] });
    for (const name of ['first', 'second']) {
      const body = csrBody(name, pem, { ...servingSpec, expirationSeconds: 86_400 });
      await writeFile(join(directory, `${name}.json`), JSON.stringify(body));
    }
  });
  after(async () => {
    await running[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  async function kubectl(...args: readonly string[]): Promise<string> {
    const environment = { HOME: directory, KUBECONFIG: join(directory, 'admin.conf') };
    const { stdout } = await promisify(execFile)(findKubectl() ?? '', [...args], {
      cwd: directory,
      env: environment,
    });
    return stdout;
  }

  it('creates, lists, approves, shows, denies and deletes CSRs', async () => {
    for (const name of ['first', 'second']) {
      const bootstrap = ['--kubeconfig', join(directory, 'bootstrap.conf')];
      await kubectl(...bootstrap, 'create', '--validate=false', '-f', `${name}.json`);
    }
    const [header, first] = (await kubectl('get', 'csr')).split('\n');
    assert.deepEqual(columns(header), [
      'NAME',
      'AGE',
      'SIGNERNAME',
      'REQUESTOR',
      'REQUESTEDDURATION',
      'CONDITION',
    ]);
    assert.deepEqual(columns(first), [
      'first',
      '0s',
      'kubernetes.io/kubelet-serving',
      'system:bootstrap:abcdef',
      '1d',
      'Pending',
    ]);

    await kubectl('certificate', 'approve', 'first');
    await waitFor(running.admin, 'first', ({ status }) => status.certificate !== undefined);
    assert.match(await kubectl('get', 'csr', 'first'), /Approved,Issued/);
    const yaml = await kubectl('get', 'csr', 'first', '-o', 'yaml');
    assert.match(yaml, /reason: KubectlApprove/);
    assert.match(yaml, /\n {2}certificate: LS0t/);

    await kubectl('certificate', 'deny', 'second');
    assert.match(await kubectl('get', 'csr', 'second'), /Denied/);
    await assert.rejects(kubectl('certificate', 'approve', 'second'), /already Denied/);

    await kubectl('delete', 'csr', 'second');
    await assert.rejects(kubectl('get', 'csr', 'second'), /"second" not found/);
  });

  it('learns what a bootstrapper may not do', async () => {
    const bootstrap = ['--kubeconfig', join(directory, 'bootstrap.conf')];
    await assert.rejects(
      kubectl(...bootstrap, 'get', 'nodes'),
      /User "system:bootstrap:abcdef" cannot list resource "nodes"/,
    );
  });

  it('says who somebody is, and what they may do', async () => {
    const bootstrap = ['--kubeconfig', join(directory, 'bootstrap.conf')];
    assert.match(await kubectl(...bootstrap, 'auth', 'whoami'), /system:bootstrap:abcdef/);
    const csrs = 'certificatesigningrequests';
    const may = ['auth', 'can-i', 'create', csrs, '--subresource'];
    assert.match(await kubectl(...bootstrap, ...may, 'nodeclient'), /^yes/);
    await assert.rejects(kubectl(...bootstrap, ...may, 'selfnodeclient'), { stdout: /^no/ });
  });

  it('shows the Secret of the bootstrap token', async () => {
    const secret = ['-n', 'kube-system', 'get', 'secret', 'bootstrap-token-abcdef'];
    const id = await kubectl(
      ...secret,
      '-o',
      'go-template={{index .data "token-id"|base64decode}}',
    );
    assert.equal(id, 'abcdef');
    assert.match(await kubectl(...secret), /bootstrap-token-abcdef/);
    const bootstrap = ['--kubeconfig', join(directory, 'bootstrap.conf')];
    await assert.rejects(kubectl(...bootstrap, ...secret), /cannot get resource "secrets"/);
  });

  it('shows nodes with their addresses', async () => {
    await running.sandbox.setNodeAddresses('worker-1', [
      { type: 'InternalIP', address: '10.0.0.1' },
      { type: 'Hostname', address: 'worker-1' },
    ]);
    const [, line] = (await kubectl('get', 'nodes')).split('\n');
    assert.deepEqual(columns(line), ['worker-1', '0s', '10.0.0.1,worker-1']);
  });
});
