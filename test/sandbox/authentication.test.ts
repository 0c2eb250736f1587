import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { bootstrapUser } from './authentication.ts';
import { minute, second } from '../../src/core/instant.ts';
import { csrBody, csrsPath, foreignCredential, makeRequest, nodeCredential } from './fixtures.ts';
import { certificateOf, nodesPath, run, servingSpec, token, waitFor } from './fixtures.ts';
import type { Running } from './fixtures.ts';

describe('bootstrapUser()', () => {
  it('names the user after the public half of the token', () => {
    assert.deepEqual(bootstrapUser(token), {
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:authenticated'],
    });
  });
  for (const bad of [
    '',
    'abcdef',
    'abcdef.0123456789abcde',
    'abcdef.0123456789abcdef0',
    'abcde.0123456789abcdef',
    'abcdefg.0123456789abcdef',
    'ABCDEF.0123456789abcdef',
    'abcdef.0123456789ABCDEF',
    'abcdef-0123456789abcdef',
    ' abcdef.0123456789abcdef',
  ]) {
    it(`refuses "${bad}"`, () => {
      assert.equal(bootstrapUser(bad), undefined);
    });
  }
});

describe('Authenticator', () => {
  let running: Running;
  before(async () => {
    running = await run({ signingSeconds: 60 });
  });
  after(() => running[Symbol.asyncDispose]());

  const list = { method: 'GET', path: csrsPath } as const;

  it('accepts the bootstrap token, the administrator and a node', async () => {
    const node = await running.connectNode('worker-1');
    for (const [client, username] of [
      [running.bootstrapper, 'system:bootstrap:abcdef'],
      [running.admin, 'sandbox-admin'],
      [node, 'system:node:worker-1'],
    ] as const) {
      assert.equal((await client.request(list)).status, 200);
      assert.equal(running.sandbox.audit().at(-1)?.user, username);
    }
  });

  it('allows only health and version without credentials', async () => {
    const anonymous = running.connect();
    const answer = await anonymous.request(list);
    assert.equal(answer.status, 403);
    assert.match(JSON.stringify(answer.body), /User \\"system:anonymous\\" cannot list/);
    assert.deepEqual(await anonymous.request({ method: 'GET', path: '/healthz' }), {
      status: 200,
      body: 'ok',
    });
    assert.equal((await anonymous.request({ method: 'GET', path: '/version' })).status, 200);
  });

  it('answers 401 to an unknown token, for any path', async () => {
    const stranger = running.connect({ token: 'abcdef.fedcba9876543210' });
    for (const path of [csrsPath, '/healthz']) {
      const { status, body } = await stranger.request({ method: 'GET', path });
      assert.equal(status, 401);
      const { kind, reason, code } = body as Record<string, unknown>;
      assert.deepEqual(
        { kind, reason, code },
        { kind: 'Status', reason: 'Unauthorized', code: 401 },
      );
    }
  });

  it('answers 401 to a certificate from another CA', async () => {
    const stranger = running.connect(await foreignCredential('admin'));
    assert.equal((await stranger.request(list)).status, 401);
  });

  it('accepts a valid token beside a certificate from another CA', async () => {
    const client = running.connect({ ...(await foreignCredential('admin')), token });
    assert.equal((await client.request(list)).status, 200);
    assert.equal(running.sandbox.audit().at(-1)?.user, 'system:bootstrap:abcdef');
  });

  it('answers 401 to a serving certificate', async () => {
    const node = await running.connectNode('worker-2');
    const request = await makeRequest({
      commonName: 'system:node:worker-2',
      ipAddresses: ['10.0.0.2'],
    });
    const body = csrBody('serving', request.pem, servingSpec);
    await node.must({ method: 'POST', path: csrsPath, body });
    running.sandbox.approve('serving');
    const csr = await waitFor(node, 'serving', ({ status }) => status.certificate !== undefined);
    const server = running.connect({ certificatePem: certificateOf(csr), keyPem: request.keyPem });
    assert.equal((await server.request(list)).status, 401);
  });

  it('rejects a certificate that expires while its connection is open', async () => {
    const { clock } = running;
    const credential = await nodeCredential(running.bootstrapper, 'worker-3');
    const node = running.connect(credential);
    const own = { method: 'GET', path: `${nodesPath}/worker-3` } as const;
    assert.equal((await node.request(own)).status, 404);
    clock.jump(60 * second);
    assert.equal((await node.request(own)).status, 404);
    clock.jump(second);
    assert.equal((await node.request(own)).status, 401);
    assert.equal((await running.connect(credential).request(own)).status, 401);
  });

  it('rejects a certificate that is not valid yet', async () => {
    const { clock } = running;
    const node = await running.connectNode('worker-4');
    const own = { method: 'GET', path: `${nodesPath}/worker-4` } as const;
    // The certificate is backdated by five minutes.
    clock.jump(-5 * minute);
    assert.equal((await node.request(own)).status, 404);
    clock.jump(-second);
    assert.equal((await node.request(own)).status, 401);
    clock.jump(5 * minute + second);
  });
});
