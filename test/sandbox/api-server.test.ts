import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { parsePem } from '../../src/core/pem.ts';
import type { CsrObject } from '../../src/sandbox/api-object.ts';
import type { ApiClient, ApiRequest } from '../support/api-client.ts';
import {
  csrBody,
  csrsPath,
  makeRequest,
  nodesPath,
  pem,
  run,
  servingSpec,
  token,
} from './fixtures.ts';
import type { KeyedRequest, Running } from './fixtures.ts';

interface StatusBody {
  readonly kind: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly code: number;
  readonly details?: { readonly causes?: readonly { readonly field: string }[] };
}

let running: Running;
let request: KeyedRequest;
before(async () => {
  running = await run({ signing: false, approving: false, maxBodyBytes: 16_384 });
  request = await makeRequest();
});
after(() => running[Symbol.asyncDispose]());

function base64(value: string): string {
  return Buffer.from(value).toString('base64');
}

/** The Status that a refused request is answered with. */
async function refusal(client: ApiClient, asked: ApiRequest): Promise<StatusBody> {
  const { status, body } = await client.request(asked);
  const refused = body as StatusBody;
  assert.equal(refused.kind, 'Status');
  assert.equal(refused.status, 'Failure');
  assert.equal(refused.code, status);
  return refused;
}

function create(client: ApiClient, body: unknown): Promise<unknown> {
  return client.must({ method: 'POST', path: csrsPath, body });
}

describe('creating a CSR', () => {
  it('records who asked, whatever the client says, and starts without a status', async () => {
    const created = (await create(running.bootstrapper, {
      ...csrBody('mine', request.pem, {
        username: 'system:admin',
        groups: ['system:masters'],
        uid: '0',
        expirationSeconds: 600,
      }),
      status: { conditions: [{ type: 'Approved', status: 'True' }] },
    })) as CsrObject;
    assert.equal(created.metadata.name, 'mine');
    assert.match(created.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.equal(Date.parse(created.metadata.creationTimestamp), running.clock.now());
    assert.deepEqual(created.spec, {
      request: Buffer.from(request.pem).toString('base64'),
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      expirationSeconds: 600,
      usages: ['digital signature', 'client auth'],
      username: 'system:bootstrap:abcdef',
      groups: ['system:bootstrappers', 'system:authenticated'],
    });
    assert.deepEqual(created.status, {});
  });

  it('makes up a name from generateName, another each time', async () => {
    const body = { ...csrBody('', request.pem), metadata: { generateName: 'csr-' } };
    const names = new Set<string>();
    for (let count = 0; count < 5; count += 1) {
      names.add(((await create(running.bootstrapper, body)) as CsrObject).metadata.name);
    }
    assert.equal(names.size, 5);
    for (const name of names) assert.match(name, /^csr-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  });

  it('answers 409 AlreadyExists to a second one of the same name', async () => {
    const body = csrBody('twice', request.pem);
    await create(running.bootstrapper, body);
    const refused = await refusal(running.bootstrapper, { method: 'POST', path: csrsPath, body });
    assert.equal(refused.code, 409);
    assert.equal(refused.reason, 'AlreadyExists');
    assert.match(refused.message, /"twice" already exists/);
  });

  it('takes the long names of node-csr-… digests', async () => {
    const name = 'node-csr-Dv4_kQW-0aZ';
    assert.equal(
      ((await create(running.bootstrapper, csrBody(name, request.pem))) as CsrObject).metadata.name,
      name,
    );
  });

  it('answers 422 with the field to each invalid value', async () => {
    const [block] = parsePem(Buffer.from(request.pem));
    assert.ok(block);
    const { der } = block;
    const cutOff = pem('CERTIFICATE REQUEST', der.subarray(0, -40));
    const forged = Uint8Array.from(der);
    forged[der.length - 3] = (der.at(-3) ?? 0) ^ 1;
    const tampered = pem('CERTIFICATE REQUEST', forged);
    const rows: readonly (readonly [field: string, spec: Readonly<Record<string, unknown>>])[] = [
      ['spec.request', { request: '' }],
      ['spec.request', { request: base64('no PEM') }],
      ['spec.request', { request: base64(request.keyPem) }],
      ['spec.request', { request: base64(cutOff) }],
      ['spec.request', { request: base64(tampered) }],
      ['spec.usages', { usages: [] }],
      ['spec.usages', { usages: null }],
      ['spec.usages[1]', { usages: ['client auth', 'signing in'] }],
      ['spec.usages[1]', { usages: ['client auth', 'client auth'] }],
      ['spec.signerName', { signerName: '' }],
      ['spec.signerName', { signerName: 'nodomain/x' }],
      ['spec.signerName', { signerName: 'example.com' }],
      ['spec.signerName', { signerName: 'example.com/Upper' }],
      ['spec.signerName', { signerName: 'kubernetes.io/legacy-unknown' }],
      ['spec.expirationSeconds', { expirationSeconds: 599 }],
      ['spec.expirationSeconds', { expirationSeconds: -1 }],
    ];
    for (const [index, [field, spec]] of rows.entries()) {
      const body = csrBody(`invalid-${index}`, request.pem, spec);
      const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 422, JSON.stringify(spec));
      assert.equal(refused.reason, 'Invalid');
      assert.deepEqual(
        refused.details?.causes?.map((cause) => cause.field),
        [field],
        JSON.stringify(spec),
      );
    }
  });

  it('names every invalid field at once', async () => {
    const body = csrBody('all-wrong', 'x', { usages: [], signerName: 'x', expirationSeconds: 1 });
    const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
    assert.deepEqual(
      refused.details?.causes?.map((cause) => cause.field),
      ['spec.request', 'spec.usages', 'spec.signerName', 'spec.expirationSeconds'],
    );
  });

  it('accepts what is just valid', async () => {
    for (const [name, spec] of [
      ['at-600', { expirationSeconds: 600 }],
      ['any-signer', { signerName: 'example.com/my-signer.v1' }],
      ['old-usage', { signerName: 'example.com/x', usages: ['s/mime', 'signing'] }],
    ] as const) {
      await create(running.admin, csrBody(name, request.pem, spec));
    }
  });

  it('answers 400 to what is no CertificateSigningRequest', async () => {
    const good = csrBody('typed', request.pem);
    for (const body of [
      {},
      [],
      { ...good, kind: 'Pod' },
      { ...good, apiVersion: 'certificates.k8s.io/v1beta1' },
      csrBody('typed', request.pem, { usages: 'client auth' }),
      csrBody('typed', request.pem, { expirationSeconds: '600' }),
      csrBody('typed', request.pem, { request: '???' }),
      { ...good, metadata: { name: 7 } },
    ]) {
      const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 400, JSON.stringify(body).slice(0, 100));
      assert.equal(refused.reason, 'BadRequest');
    }
  });

  it('answers 422 to names that cannot be part of a path', async () => {
    for (const name of ['', '.', '..', 'a/b', 'a%b', 'a b', 'x'.repeat(254)]) {
      const body = csrBody(name, request.pem);
      const refused = await refusal(running.admin, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 422, name);
    }
  });

  it('answers 403 to a node that asks for another, with both kubelet signers', async () => {
    await using other = await run();
    const node = await other.connectNode('worker-1');
    const asked = await makeRequest({
      commonName: 'system:node:worker-10',
      ipAddresses: ['10.0.0.1'],
    });
    for (const spec of [{}, servingSpec]) {
      const body = csrBody('foreign', asked.pem, spec);
      const refused = await refusal(node, { method: 'POST', path: csrsPath, body });
      assert.equal(refused.code, 403);
      assert.match(refused.message, /CN=system:node:worker-1, found CN=system:node:worker-10/);
    }
    assert.equal(
      other.sandbox.csrs().find((csr) => csr.metadata.name === 'foreign'),
      undefined,
    );
  });

  it('answers 403 to a way into system:masters', async () => {
    const asked = await makeRequest({ commonName: 'jane', organizations: ['system:masters'] });
    const body = csrBody('masters', asked.pem, {
      signerName: 'kubernetes.io/kube-apiserver-client',
    });
    assert.equal(
      (await refusal(running.admin, { method: 'POST', path: csrsPath, body })).code,
      403,
    );
  });
});

function put(csr: CsrObject, subresource: string, status: object): Promise<unknown> {
  const path = `${csrsPath}/${csr.metadata.name}/${subresource}`;
  return running.admin.must({ method: 'PUT', path, body: { ...csr, status } });
}

async function refusedPut(csr: CsrObject, subresource: string, status: object): Promise<string> {
  const path = `${csrsPath}/${csr.metadata.name}/${subresource}`;
  const refused = await refusal(running.admin, {
    method: 'PUT',
    path,
    body: { ...csr, status },
  });
  assert.equal(refused.code, 422);
  return refused.message;
}

const approved = { type: 'Approved', status: 'True', reason: 'r', message: 'm' };
const denied = { type: 'Denied', status: 'True' };
const failed = { type: 'Failed', status: 'True' };

async function stored(name: string, conditions: readonly object[] = []): Promise<CsrObject> {
  const csr = (await create(running.admin, csrBody(name, request.pem))) as CsrObject;
  if (conditions.length === 0) return csr;
  return (await put(csr, 'approval', { conditions })) as CsrObject;
}

describe('writing to a CSR', () => {
  it('approves through the subresource, fills the times in, and never touches the spec', async () => {
    const csr = await stored('to-approve');
    const changed = { ...csr, spec: { ...csr.spec, username: 'x', signerName: 'example.com/x' } };
    const after = (await put(changed, 'approval', { conditions: [approved] })) as CsrObject;
    const now = new Date(running.clock.now()).toISOString().replace('.000', '');
    assert.deepEqual(after.status, {
      conditions: [{ ...approved, lastUpdateTime: now, lastTransitionTime: now }],
    });
    assert.deepEqual(after.spec, csr.spec);
    assert.ok(Number(after.metadata.resourceVersion) > Number(csr.metadata.resourceVersion));
  });

  it('takes a merge patch in place of the whole object', async () => {
    const csr = await stored('to-patch');
    const path = `${csrsPath}/${csr.metadata.name}/approval`;
    const body = { status: { conditions: [denied] } };
    const after = (await running.admin.must({ method: 'PATCH', path, body })) as CsrObject;
    assert.equal(after.status.conditions?.[0]?.type, 'Denied');
  });

  it('changes labels and nothing else without a subresource', async () => {
    const csr = await stored('to-label');
    const path = `${csrsPath}/${csr.metadata.name}`;
    const body = {
      metadata: { labels: { a: 'b' }, annotations: { c: 'd' } },
      spec: { usages: ['any'] },
      status: { conditions: [approved] },
    };
    const after = (await running.admin.must({ method: 'PATCH', path, body })) as CsrObject;
    assert.deepEqual(after.metadata.labels, { a: 'b' });
    assert.deepEqual(after.metadata.annotations, { c: 'd' });
    assert.deepEqual(after.spec, csr.spec);
    assert.deepEqual(after.status, {});
  });

  it('answers 409 Conflict to a stale resourceVersion or another uid, and none to an absent one', async () => {
    const csr = await stored('to-race');
    await put(csr, 'approval', { conditions: [approved] });
    const path = `${csrsPath}/to-race/approval`;
    for (const metadata of [
      csr.metadata,
      { name: 'to-race', uid: '00000000-0000-0000-0000-000000000000' },
    ]) {
      const body = { ...csr, metadata, status: { conditions: [approved] } };
      const refused = await refusal(running.admin, { method: 'PUT', path, body });
      assert.equal(refused.reason, 'Conflict');
    }
    const body = { ...csr, metadata: { name: 'to-race' }, status: { conditions: [approved] } };
    await running.admin.must({ method: 'PUT', path, body });
  });

  it('refuses decisions that contradict, double or take back', async () => {
    const open = await stored('open');
    const decided = await stored('decided', [approved]);
    const rows: readonly (readonly [CsrObject, string, object, RegExp])[] = [
      [open, 'approval', { conditions: [approved, denied] }, /mutually exclusive/],
      [open, 'approval', { conditions: [approved, approved] }, /Duplicate value/],
      [open, 'approval', { conditions: [{ ...approved, status: 'False' }] }, /Unsupported value/],
      [open, 'approval', { conditions: [{ type: 'Approved' }] }, /status: Required value/],
      [open, 'approval', { conditions: [{ status: 'True' }] }, /type: Required value/],
      [decided, 'approval', { conditions: [] }, /may not remove a condition of type "Approved"/],
      [decided, 'approval', { conditions: [denied] }, /may not remove/],
      [open, 'status', { conditions: [approved] }, /may not add a condition of type "Approved"/],
      [open, 'status', { conditions: [denied] }, /may not add a condition of type "Denied"/],
      [decided, 'status', { conditions: [failed] }, /may not remove/],
    ];
    for (const [csr, subresource, status, message] of rows) {
      assert.match(await refusedPut(csr, subresource, status), message);
    }
  });

  it('keeps the wording of a decision through the status subresource', async () => {
    const csr = await stored('worded', [approved]);
    const conditions = [{ ...approved, message: 'another' }, failed];
    const after = (await put(csr, 'status', { conditions })) as CsrObject;
    assert.equal(after.status.conditions?.[0]?.message, 'm');
    assert.equal(after.status.conditions?.[1]?.type, 'Failed');
  });

  it('takes a certificate once, as PEM, and through status only', async () => {
    const csr = await stored('to-sign', [approved]);
    const { conditions } = csr.status;
    const certificate = base64(running.sandbox.caPem);
    for (const bad of ['no PEM', request.keyPem, running.sandbox.caPem.replace('MII', 'AAA')]) {
      assert.match(
        await refusedPut(csr, 'status', { conditions, certificate: base64(bad) }),
        /status\.certificate/,
      );
    }
    const unsigned = (await put(csr, 'approval', { conditions, certificate })) as CsrObject;
    assert.equal(unsigned.status.certificate, undefined);
    const signed = (await put(unsigned, 'status', { conditions, certificate })) as CsrObject;
    assert.equal(signed.status.certificate, certificate);
    const other = base64(running.sandbox.customCaPem);
    assert.match(
      await refusedPut(signed, 'status', { conditions, certificate: other }),
      /existing/,
    );
    assert.match(await refusedPut(signed, 'status', { conditions }), /existing/);
  });

  it('deletes, if it is still the one meant', async () => {
    const csr = await stored('to-delete');
    const asked = { method: 'DELETE', path: `${csrsPath}/to-delete` } as const;
    const body = { preconditions: { uid: 'another' } };
    assert.equal((await refusal(running.admin, { ...asked, body })).reason, 'Conflict');
    const right = { preconditions: { uid: csr.metadata.uid } };
    const gone = (await running.admin.must({ ...asked, body: right })) as StatusBody;
    assert.equal(gone.status, 'Success');
    assert.equal((await refusal(running.admin, asked)).reason, 'NotFound');
  });

  it('is forbidden to those who may only ask', async () => {
    const csr = await stored('not-mine');
    const path = `${csrsPath}/${csr.metadata.name}`;
    const body = { ...csr, status: { conditions: [approved] } };
    for (const asked of [
      { method: 'PUT', path: `${path}/approval`, body },
      { method: 'PATCH', path: `${path}/status`, body },
      { method: 'DELETE', path },
    ] as const) {
      assert.equal((await refusal(running.bootstrapper, asked)).code, 403);
    }
  });
});

describe('reading', () => {
  it('lists with the newest resourceVersion, all or the one selected', async () => {
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

  it('answers 404 to what is not there, and 405 to what is not done', async () => {
    const missing = await refusal(running.admin, { method: 'GET', path: `${csrsPath}/missing` });
    assert.equal(missing.reason, 'NotFound');
    assert.match(missing.message, /certificatesigningrequests\.certificates\.k8s\.io "missing"/);
    assert.equal((await refusal(running.admin, { method: 'GET', path: '/api/v1/pods' })).code, 404);
    assert.equal((await refusal(running.admin, { method: 'DELETE', path: csrsPath })).code, 405);
  });
});

/** A POST whose body and type are given as they are. */
async function post(
  body: string | Buffer,
  type: string,
): Promise<{ code: number | undefined; text: string; connection: string | undefined }> {
  const outgoing = httpsRequest(`${running.sandbox.server}${csrsPath}`, {
    method: 'POST',
    ca: running.sandbox.caPem,
    agent: false,
    headers: { authorization: `Bearer ${token}`, 'content-type': type },
  });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const { statusCode: code, headers } = response;
  return { code, text: await text(response), connection: headers.connection };
}

describe('bodies', () => {
  it('may be as large as the limit and no larger', async () => {
    const limit = 16_384;
    const fits = await post('x'.repeat(limit), 'application/json');
    assert.equal(fits.code, 400);
    assert.match(fits.text, /not JSON/);
    const exceeds = await post('x'.repeat(limit + 1), 'application/json');
    assert.equal(exceeds.code, 413);
    assert.match(exceeds.text, /larger than 16384 bytes/);
    assert.equal(exceeds.connection, 'close');
  });

  it('are read in the types the API speaks', async () => {
    for (const [type, code] of [
      ['application/yaml', 415],
      ['application/vnd.kubernetes.protobuf', 400],
      ['application/json; charset=utf-8', 201],
    ] as const) {
      const body = JSON.stringify(csrBody('by-type', request.pem));
      assert.equal((await post(body, type)).code, code, type);
    }
  });
});

describe('Nodes', () => {
  it('show a node itself and no other', async () => {
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

  it('take their addresses through status only', async () => {
    const addresses = [{ type: 'Hostname', address: 'n2' }];
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n2' } };
    await running.admin.must({ method: 'POST', path: nodesPath, body: node });
    const path = `${nodesPath}/n2`;
    const body = { status: { addresses } };
    const ignored = await running.admin.must({ method: 'PATCH', path, body });
    assert.deepEqual((ignored as { status: object }).status, {});
    const taken = await running.admin.must({ method: 'PATCH', path: `${path}/status`, body });
    assert.deepEqual((taken as { status: object }).status, { addresses });
    const wrong = { status: { addresses: [{ type: 'Hostname' }] } };
    const refused = { method: 'PATCH', path: `${path}/status`, body: wrong } as const;
    assert.equal((await refusal(running.admin, refused)).code, 400);
    await running.admin.must({ method: 'DELETE', path });
    assert.equal((await refusal(running.admin, { method: 'GET', path })).code, 404);
  });
});

async function discover(path: string): Promise<Record<string, unknown>> {
  const body = await running.bootstrapper.must({ method: 'GET', path });
  return body as Record<string, unknown>;
}

describe('discovery', () => {
  it('names the groups, versions and resources', async () => {
    assert.deepEqual((await discover('/api'))['versions'], ['v1']);
    assert.match(JSON.stringify(await discover('/apis')), /"certificates\.k8s\.io\/v1"/);
    assert.equal((await discover('/apis/certificates.k8s.io'))['name'], 'certificates.k8s.io');
    for (const [path, names] of [
      ['/api/v1', ['nodes', 'nodes/status']],
      [
        '/apis/certificates.k8s.io/v1',
        [
          'certificatesigningrequests',
          'certificatesigningrequests/approval',
          'certificatesigningrequests/status',
        ],
      ],
    ] as const) {
      const { resources } = (await discover(path)) as { resources: { name: string }[] };
      assert.deepEqual(
        resources.map(({ name }) => name),
        names,
      );
    }
  });
});

describe('the audit log', () => {
  it('has user, verb, resource, name and code of each request', async () => {
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
