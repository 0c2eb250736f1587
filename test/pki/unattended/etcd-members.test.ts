import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { Component } from '../../../src/pki/components/component.ts';
import { etcdMembersOf, unhealthyMembers } from '../../../src/pki/unattended/etcd-members.ts';
import { ApiServer } from '../../kube/support/api-server.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

const { signal } = new AbortController();

function apiServer(flags: Readonly<Record<string, string>>): Component {
  return {
    name: 'kube-apiserver',
    source: { kind: 'process', pid: 1 },
    flags: Object.entries(flags).map(([name, value]) => ({ name, value })),
    sharesNetwork: true,
    hostPath: (path) => `/host${path}`,
  };
}

describe('etcdMembersOf()', () => {
  const cases: readonly (readonly [string, string[]])[] = [
    ['https://127.0.0.1:2379', []],
    ['https://localhost:2379,https://[::1]:2379', []],
    ['https://10.0.0.1:2379, https://[fd00::2]:2379', ['10.0.0.1:2379', '[fd00::2]:2379']],
    ['https://127.0.0.1:2379,https://10.0.0.2:2379', ['10.0.0.2:2379']],
    ['http://10.0.0.1:2379,nonsense', []],
  ];
  for (const [servers, hosts] of cases) {
    it(`of --etcd-servers=${servers} is ${hosts.join(' and ') || 'empty'}`, () => {
      const { urls } = etcdMembersOf([apiServer({ 'etcd-servers': servers })]);
      assert.deepEqual(
        urls.map(({ host }) => host),
        hosts,
      );
    });
  }

  it('has the files of the flags, by their path on the node', () => {
    const server = apiServer({
      'etcd-cafile': '/ca',
      'etcd-certfile': '/crt',
      'etcd-keyfile': '/key',
    });
    assert.deepEqual(etcdMembersOf([server]).files, ['/host/ca', '/host/crt', '/host/key']);
  });

  it('is empty without an API server', () => {
    assert.deepEqual(etcdMembersOf([]), { urls: [], files: [] });
  });
});

async function problemsWith(context: TestContext, status: number): Promise<string[]> {
  const authority = await makeAuthority('etcd-ca');
  await using server = await ApiServer.start(
    (request, response) => {
      response.writeHead(request.url === '/health' ? status : 404);
      response.end('{"health":"true"}');
    },
    { authority, tls: { ca: authority.pem, requestCert: true, rejectUnauthorized: true } },
  );
  const client = await authority.issue({ commonName: 'client', usages: ['client auth'] });
  const folder = await temporaryDirectory(context);
  const content = { ca: authority.pem, crt: client.cert, key: client.key };
  for (const [name, text] of Object.entries(content)) await writeFile(join(folder, name), text);
  const files = Object.keys(content).map((name) => join(folder, name));
  return await unhealthyMembers({ urls: [new URL(server.url)], files }, signal);
}

describe('unhealthyMembers()', () => {
  it('finds nothing if /health answers 200 to the client certificate', async (context) => {
    assert.deepEqual(await problemsWith(context, 200), []);
  });

  it('finds a member whose /health answers 503', async (context) => {
    const [problem] = await problemsWith(context, 503);
    assert.match(
      problem ?? '',
      /^etcd at https:\/\/127\.0\.0\.1:\d+ is unhealthy: \/health answers with HTTP status 503$/,
    );
  });

  it('finds a member that does not answer, and files that are missing', async () => {
    const urls = [new URL('https://127.0.0.1:1')];
    const [down] = await unhealthyMembers({ urls, files: [] }, signal);
    assert.match(down ?? '', /^etcd at https:\/\/127\.0\.0\.1:1 is unhealthy: .*ECONNREFUSED/);
    const [unknown] = await unhealthyMembers({ urls, files: ['/nonexistent'] }, signal);
    assert.match(unknown ?? '', /^the health of etcd is unknown: .*\/nonexistent/);
  });
});
