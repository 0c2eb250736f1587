import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { after, before, describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import type { CsrObject } from './api-object.ts';
import type { ApiClient } from '../support/api-client.ts';
import { csrBody, csrsPath, makeRequest, nodesPath, refusal, run } from './fixtures.ts';
import type { KeyedRequest, Running } from './fixtures.ts';

let running: Running;
let request: KeyedRequest;
before(async () => {
  running = await run({ signing: false, approving: false });
  request = await makeRequest();
});
after(() => running[Symbol.asyncDispose]());

function create(client: ApiClient, body: unknown): Promise<unknown> {
  return client.must({ method: 'POST', path: csrsPath, body });
}

describe('reading', () => {
  it('lists all objects or the selected one, with the newest resourceVersion', async () => {
    await create(running.admin, csrBody('listed', request.pem));
    const all = (await running.admin.must({ method: 'GET', path: csrsPath })) as {
      kind: string;
      metadata: { resourceVersion: string };
      items: CsrObject[];
    };
    assert.equal(all.kind, 'CertificateSigningRequestList');
    const newest = Math.max(...all.items.map((csr) => Number(csr.metadata.resourceVersion)));
    assert.ok(Number(all.metadata.resourceVersion) >= newest);
    const one = (await running.admin.must({
      method: 'GET',
      path: `${csrsPath}?fieldSelector=metadata.name%3Dlisted`,
    })) as { items: CsrObject[] };
    assert.deepEqual(
      one.items.map((csr) => csr.metadata.name),
      ['listed'],
    );
  });

  it('answers 404 to a missing object and 405 to a wrong method', async () => {
    const missing = await refusal(running.admin, { method: 'GET', path: `${csrsPath}/missing` });
    assert.equal(missing.reason, 'NotFound');
    assert.match(missing.message, /certificatesigningrequests\.certificates\.k8s\.io "missing"/);
    assert.equal((await refusal(running.admin, { method: 'GET', path: '/api/v1/pods' })).code, 404);
    assert.equal((await refusal(running.admin, { method: 'DELETE', path: csrsPath })).code, 405);
  });
});

describe('Nodes', () => {
  it('can be read only by the node that they describe', async () => {
    await using other = await run();
    await other.sandbox.setNodeAddresses('n1', [{ type: 'InternalIP', address: '10.0.0.1' }]);
    await other.sandbox.setNodeAddresses('n10', [{ type: 'InternalIP', address: '10.0.0.10' }]);
    const node = await other.connectNode('n1');
    const own = (await node.must({ method: 'GET', path: `${nodesPath}/n1` })) as {
      status: { addresses: unknown };
    };
    assert.deepEqual(own.status.addresses, [{ type: 'InternalIP', address: '10.0.0.1' }]);
    const list = (await node.must({
      method: 'GET',
      path: `${nodesPath}?fieldSelector=metadata.name%3Dn1`,
    })) as { items: unknown[] };
    assert.equal(list.items.length, 1);
    for (const path of [`${nodesPath}/n10`, `${nodesPath}/none`, nodesPath]) {
      assert.equal((await refusal(node, { method: 'GET', path })).code, 403);
    }
  });

  it('change their addresses through the status subresource only', async () => {
    const addresses = [{ type: 'Hostname', address: 'n2' }];
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n2' } };
    await running.admin.must({ method: 'POST', path: nodesPath, body: node });
    const path = `${nodesPath}/n2`;
    const body = { ...node, status: { addresses } };
    const ignored = await running.admin.must({ method: 'PUT', path, body });
    assert.deepEqual((ignored as { status: object }).status, {});
    const taken = await running.admin.must({ method: 'PUT', path: `${path}/status`, body });
    assert.deepEqual((taken as { status: object }).status, { addresses });
    const wrong = { ...node, status: { addresses: [{ type: 'Hostname' }] } };
    const refused = { method: 'PUT', path: `${path}/status`, body: wrong } as const;
    assert.equal((await refusal(running.admin, refused)).code, 400);
    await running.admin.must({ method: 'DELETE', path });
    assert.equal((await refusal(running.admin, { method: 'GET', path })).code, 404);
  });
});

describe('the paths without objects', () => {
  it('give the version and the health, and nothing else', async () => {
    const { admin } = running;
    const version = await admin.must({ method: 'GET', path: '/version' });
    assert.equal((version as { minor: string }).minor, '37');
    assert.equal((await refusal(admin, { method: 'GET', path: '/apis' })).code, 404);
  });
});

describe('the Date header', () => {
  it('follows the clock of the sandbox, not of the machine', async () => {
    const { server, caPem } = running.sandbox;
    const date = async (): Promise<number> => {
      const asked = get(`${server}/healthz`, { ca: caPem, agent: false });
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      response.resume();
      return Date.parse(String(response.headers.date));
    };
    assert.equal(await date(), running.clock.now());
    running.clock.jump(-3 * hour);
    assert.equal(await date(), running.clock.now());
    running.clock.jump(3 * hour);
  });
});

describe('the audit log', () => {
  it('records user, verb, resource, name and code of each request', async () => {
    await using other = await run({ approving: false });
    const { bootstrapper } = other;
    await create(bootstrapper, csrBody('audited', request.pem));
    await bootstrapper.request({ method: 'GET', path: `${csrsPath}/audited` });
    await bootstrapper.request({ method: 'DELETE', path: `${csrsPath}/audited` });
    await bootstrapper.request({ method: 'GET', path: '/healthz' });
    const user = 'system:bootstrap:abcdef';
    const resource = 'certificatesigningrequests';
    const common = { user, resource, subresource: undefined, name: 'audited' };
    assert.deepEqual(other.sandbox.audit(), [
      { ...common, verb: 'create', code: 201 },
      { ...common, verb: 'get', code: 200 },
      { ...common, verb: 'delete', code: 403 },
      { ...common, verb: 'get', resource: '/healthz', name: undefined, code: 200 },
    ]);
  });
});
