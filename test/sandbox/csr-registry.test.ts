import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { CsrObject } from './api-object.ts';
import { base64, csrBody, csrsPath, makeRequest, refusal, run } from './fixtures.ts';
import type { KeyedRequest, Running, StatusBody } from './fixtures.ts';

let running: Running;
let request: KeyedRequest;
before(async () => {
  running = await run({ signing: false, approving: false });
  request = await makeRequest();
});
after(() => running[Symbol.asyncDispose]());

function create(body: unknown): Promise<unknown> {
  return running.admin.must({ method: 'POST', path: csrsPath, body });
}

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
  const csr = (await create(csrBody(name, request.pem))) as CsrObject;
  if (conditions.length === 0) return csr;
  return (await put(csr, 'approval', { conditions })) as CsrObject;
}

describe('writing to a CSR', () => {
  it('approves through the subresource, adds the times, keeps the spec', async () => {
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

  it('changes only labels and annotations without a subresource', async () => {
    const csr = await stored('to-label');
    const path = `${csrsPath}/${csr.metadata.name}`;
    const body = {
      ...csr,
      metadata: { ...csr.metadata, labels: { a: 'b' }, annotations: { c: 'd' } },
      spec: { ...csr.spec, usages: ['any'] },
      status: { conditions: [approved] },
    };
    const after = (await running.admin.must({ method: 'PUT', path, body })) as CsrObject;
    assert.deepEqual(after.metadata.labels, { a: 'b' });
    assert.deepEqual(after.metadata.annotations, { c: 'd' });
    assert.deepEqual(after.spec, csr.spec);
    assert.deepEqual(after.status, {});
  });

  it('answers 409 to a stale resourceVersion or another uid', async () => {
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

  it('rejects a decision that contradicts, repeats or removes another', async () => {
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

  it('keeps the text of a decision in a write through status', async () => {
    const csr = await stored('worded', [approved]);
    const conditions = [{ ...approved, message: 'another' }, failed];
    const after = (await put(csr, 'status', { conditions })) as CsrObject;
    assert.equal(after.status.conditions?.[0]?.message, 'm');
    assert.equal(after.status.conditions?.[1]?.type, 'Failed');
  });

  it('accepts a certificate once, as PEM, through status only', async () => {
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

  it('deletes a CSR only if the preconditions hold', async () => {
    const csr = await stored('to-delete');
    const asked = { method: 'DELETE', path: `${csrsPath}/to-delete` } as const;
    const body = { preconditions: { uid: 'another' } };
    assert.equal((await refusal(running.admin, { ...asked, body })).reason, 'Conflict');
    const right = { preconditions: { uid: csr.metadata.uid } };
    const gone = (await running.admin.must({ ...asked, body: right })) as StatusBody;
    assert.equal(gone.status, 'Success');
    assert.equal((await refusal(running.admin, asked)).reason, 'NotFound');
  });

  it('is forbidden to users who may only create CSRs', async () => {
    const csr = await stored('not-mine');
    const path = `${csrsPath}/${csr.metadata.name}`;
    const body = { ...csr, status: { conditions: [approved] } };
    for (const asked of [
      { method: 'PUT', path: `${path}/approval`, body },
      { method: 'PUT', path: `${path}/status`, body },
      { method: 'DELETE', path },
    ] as const) {
      assert.equal((await refusal(running.bootstrapper, asked)).code, 403);
    }
  });
});
