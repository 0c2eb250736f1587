import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { tokenText } from '../discovery/support/test-cluster.ts';
import type { Handler } from '../kube/support/api-server.ts';
import { ApiServer } from '../kube/support/api-server.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import type { Ended } from '../support/doctor.ts';
import type { DiscoverBench } from './discover-bench.ts';
import { discoverBench } from './discover-bench.ts';

const main = join(import.meta.dirname, '../../src/main.ts');

/** A web server whose CA is the only one of the system of the command. */
interface WebBench {
  readonly bench: DiscoverBench;
  readonly web: ApiServer;
  readonly url: string;
  readonly discover: (...args: readonly string[]) => Promise<Ended>;
}

async function webBench(t: TestContext, handler?: Handler): Promise<WebBench> {
  const bench = await discoverBench(t);
  const serve: Handler = (_, response) => response.end(bench.cluster.kubeconfig);
  const web = await ApiServer.start(handler ?? serve, { authority: await makeAuthority('web') });
  t.after(() => web[Symbol.asyncDispose]());
  const env = await systemOf(bench, web.authority.pem);
  return {
    bench,
    web,
    url: `${web.url}/cluster.conf?signature=hunter2`,
    discover: (...args) => {
      const all = ['discover', '--output', bench.output, '--node-name', 'n1', ...args];
      return new Promise((resolve) => {
        execFile(process.execPath, [main, ...all], { env }, (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
      });
    },
  };
}

/** The environment of a system that trusts this CA only. */
async function systemOf({ directory }: DiscoverBench, pem: string): Promise<NodeJS.ProcessEnv> {
  const [file, folder] = [join(directory, 'system.pem'), join(directory, 'none')];
  await writeFile(file, pem);
  await mkdir(folder);
  return { ...process.env, SSL_CERT_FILE: file, SSL_CERT_DIR: folder };
}

describe('nodecertd discover --discovery-file', () => {
  it('takes a file of this machine', async (t) => {
    const bench = await discoverBench(t);
    const file = join(bench.directory, 'cluster.conf');
    await writeFile(file, bench.cluster.kubeconfig);
    const args = ['--discovery-file', file, '--token-file', bench.tokenFile];
    const { code, stdout } = await bench.discover(...args);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`^Verified by: the file ${file}$`, 'm'));
    assert.match(stdout, /^CA: +CN=kubernetes, until [^,]*$/m);
    const line = `kubeadm join --discovery-file ${file} --tls-bootstrap-token ${tokenText}`;
    const joined = await bench.discover('--join', line, '-o', 'json');
    const { verifiedBy, files } = JSON.parse(joined.stdout) as Record<string, unknown>;
    assert.equal(verifiedBy, 'file');
    assert.deepEqual(files, [{ path: bench.output, change: 'unchanged' }]);
  });

  it('downloads the file if the CAs of the system verify the web server', async (t) => {
    const { bench, url, discover } = await webBench(t);
    const hash = `sha256:${createHash('sha256').update(bench.cluster.kubeconfig).digest('hex')}`;
    const args = ['--discovery-file', url, '--token-file', bench.tokenFile];
    const found = await discover(...args, '--discovery-file-hash', hash);
    assert.equal(found.stderr, '');
    assert.equal(found.code, 0);
    // The query may be a signature that gives access to the file.
    assert.match(found.stdout, /^Verified by: the file https:\/\/[\d.:]+\/cluster\.conf$/m);
    const wrong = await discover(...args, '--discovery-file-hash', `sha256:${'0'.repeat(64)}`);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /has the hash .* \(CLUSTER_UNTRUSTED\)/);
    assert.ok(!`${found.stdout}${wrong.stderr}`.includes('hunter2'));
  });

  it('does not accept a web server that the CAs of the system do not verify', async (t) => {
    const { bench, discover } = await webBench(t);
    const url = `${bench.cluster.api.url}/cluster.conf`;
    const args = ['--discovery-file', url, '--token-file', bench.tokenFile];
    const { code, stderr } = await discover(...args);
    assert.equal(code, 1);
    assert.match(stderr, /CAs of this system do not verify .* \(API_UNTRUSTED\)/);
  });

  for (const [what, handler, message] of [
    [
      'a redirect to http://',
      (_, response) => response.writeHead(302, { location: 'http://h/a?signature=1' }).end(),
      /redirects to http:\/\/h\/a, not to an https:\/\/ URL without a password \(API_UNTRUSTED\)/,
    ],
    [
      'a redirect with a password',
      (_, response) => response.writeHead(302, { location: 'https://user:secret@h/a' }).end(),
      /redirects to https:\/\/h\/a, not to an https:\/\/ URL without a password \(API_UNTRUSTED\)/,
    ],
    [
      'a loop of redirects',
      (request, response) => response.writeHead(301, { location: request.url }).end(),
      /more than 5 redirects/,
    ],
    [
      'a missing file',
      (_, response) => response.writeHead(404).end(),
      /HTTP status 404, expected 200/,
    ],
    [
      'a file that is too large',
      (_, response) => response.end(Buffer.alloc(2 ** 20 + 1)),
      /cannot download .* is longer than 1048576 bytes/,
    ],
    [
      'a kubeconfig that names files of this machine',
      (_, response) =>
        response.end(
          `clusters: [{name: '', cluster: {server: 'https://h', certificate-authority: /etc/passwd}}]`,
        ),
      /certificate-authority names a file, and this kubeconfig comes from a web server/,
    ],
  ] as const satisfies readonly (readonly [string, Handler, RegExp])[]) {
    it(`refuses ${what}`, async (t) => {
      const { bench, url, discover } = await webBench(t, handler);
      const args = ['--discovery-file', url, '--token-file', bench.tokenFile, '--timeout', '1s'];
      const { code, stderr } = await discover(...args);
      assert.match(stderr, message);
      assert.ok(!stderr.includes('hunter2'), stderr);
      assert.equal(code, 1);
      assert.ok(!(await readdir(bench.directory)).includes('bootstrap.conf'));
    });
  }

  it('follows a redirect to another https:// URL', async (t) => {
    let kubeconfig = '';
    const { bench, url, discover } = await webBench(t, (request, response) => {
      if (request.url === '/moved') response.end(kubeconfig);
      else response.writeHead(307, { location: '/moved' }).end();
    });
    ({ kubeconfig } = bench.cluster);
    const { code } = await discover('--discovery-file', url, '--token-file', bench.tokenFile);
    assert.equal(code, 0);
  });

  it('takes a missing CA from cluster-info, if the CAs of the system verify the server', async (t) => {
    // One CA for the API server and for the system.
    const bench = await discoverBench(t);
    const file = join(bench.directory, 'cluster.conf');
    await writeFile(
      file,
      JSON.stringify({ clusters: [{ name: '', cluster: { server: bench.cluster.api.url } }] }),
    );
    const env = await systemOf(bench, bench.cluster.authority.pem);
    const args = ['--discovery-file', file, '--token-file', bench.tokenFile, '-o', 'json'];
    const all = ['discover', '--output', bench.output, ...args];
    const stdout = await new Promise<string>((resolve, reject) => {
      execFile(process.execPath, [main, ...all], { env }, (error, text) => {
        if (error === null) resolve(text);
        else reject(error);
      });
    });
    const { warnings, certificateAuthorities } = JSON.parse(stdout) as {
      warnings: string[];
      certificateAuthorities: { publicKeyHash: string }[];
    };
    assert.match(warnings.join(), /has no CA, so nodecertd trusts the CAs in cluster-info/);
    assert.deepEqual(
      certificateAuthorities.map(({ publicKeyHash }) => publicKeyHash),
      [bench.pin],
    );
  });
});
