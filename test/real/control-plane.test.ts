import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiClient } from '../support/api-client.ts';
import type { ObservedCsr } from '../support/control-plane.ts';
import { submitNodeCsr } from '../support/node-csr.ts';
import type { NodeCsr } from '../support/node-csr.ts';
import { bootstrapToken } from '../support/real-bootstrap.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import { csrPath } from '../support/real-csr.ts';
import type { CsrObject } from '../support/real-csr.ts';

const nodeName = 'worker-1';
const node = `system:node:${nodeName}`;
const signingSeconds = 600;

void describe('RealControlPlane', { skip: skipWithoutRealControlPlane(), timeout: 120_000 }, () => {
  let plane: RealControlPlane;
  let identity: ApiClient;

  before(async () => {
    plane = await startRealControlPlane({ signingSeconds });
    await using bearer = client({ token: bootstrapToken });
    identity = client(await issue(bearer, 'first-client'));
  });

  after(async () => {
    await identity[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
  });

  it('issues client certificates of the configured lifetime for a token', async () => {
    await using bearer = client({ token: bootstrapToken });
    const { certificatePem } = await issue(bearer, 'second-client');
    const { subject, validFromDate, validToDate } = new X509Certificate(certificatePem);
    assert.equal(subject, `O=system:nodes\nCN=${node}`);
    // The signer backdates by five minutes.
    const lifetime = (validToDate.getTime() - validFromDate.getTime()) / 1_000;
    assert.ok(Math.abs(lifetime - signingSeconds - 300) <= 1, `lifetime ${lifetime} s`);
  });

  it('leaves a serving CSR pending until kubectl approves it', async () => {
    await submitNodeCsr(identity, servingCsr('serving-1'));
    // A later client CSR is approved, so the approver has already skipped this one.
    await issue(identity, 'after-serving-1');
    assert.deepEqual(await stateOf('serving-1'), { conditions: [], issued: false });

    await plane.approve('serving-1');
    const csr = await issued('serving-1');
    assert.deepEqual(csr.conditions, ['Approved']);
    assert.equal(csr.username, node);
  });

  it('denies, fails and deletes CSRs', async () => {
    await submitNodeCsr(identity, servingCsr('to-deny'));
    await submitNodeCsr(identity, servingCsr('to-fail'));
    await plane.deny('to-deny', 'not wanted');
    await plane.fail('to-fail', 'SignerValidationFailure');
    assert.deepEqual(await stateOf('to-deny'), { conditions: ['Denied'], issued: false });
    assert.deepEqual(await stateOf('to-fail'), { conditions: ['Failed'], issued: false });

    await plane.deleteCsr('to-deny');
    assert.equal(await stateOf('to-deny'), undefined);
  });

  it('stops and resumes approving', async () => {
    await plane.setApproving(false);
    await submitNodeCsr(identity, clientCsr('unapproved'));
    await submitNodeCsr(identity, servingCsr('approved-by-hand'));
    await plane.approve('approved-by-hand');
    // The signer works while the approver is off.
    await issued('approved-by-hand');
    assert.deepEqual(await stateOf('unapproved'), { conditions: [], issued: false });

    await plane.setApproving(true);
    assert.deepEqual((await issued('unapproved')).conditions, ['Approved']);
  });

  it('keeps its port and its state while the API server is down', async () => {
    await submitNodeCsr(identity, servingCsr('survivor'));
    await plane.stopApi();
    await assert.rejects(identity.request({ method: 'GET', path: '/readyz' }), {
      code: 'ECONNREFUSED',
    });
    await plane.startApi();
    assert.deepEqual(await stateOf('survivor'), { conditions: [], issued: false });
    await plane.approve('survivor');
    await issued('survivor');
    await issue(identity, 'client-after-restart');
  });

  it('sets the addresses of a node, and replaces them', async () => {
    for (const address of ['192.0.2.1', '192.0.2.2']) {
      const addresses = [{ type: 'InternalIP', address }];
      await plane.setNodeAddresses('worker-1', addresses);
      const { status } = (await identity.must({
        method: 'GET',
        path: '/api/v1/nodes/worker-1',
      })) as { readonly status: { readonly addresses: unknown } };
      assert.deepEqual(status.addresses, addresses);
    }
  });

  it('counts the requests of each user', async () => {
    const before = await requestsOf(node);
    await submitNodeCsr(identity, servingCsr('counted'));
    await identity.request({ method: 'GET', path: csrPath('no-such-request') });
    assert.deepEqual((await requestsOf(node)).slice(before.length), [
      'create certificatesigningrequests 201',
      'get certificatesigningrequests 404',
    ]);
    assert.notEqual((await requestsOf('system:bootstrap:test01')).length, 0);
  });

  function client(credential: {
    readonly token?: string;
    readonly certificatePem?: string;
    readonly keyPem?: string;
  }): ApiClient {
    return new ApiClient({ server: plane.server, caPem: plane.caPem, ...credential });
  }

  async function requestsOf(user: string): Promise<string[]> {
    return (await plane.requests())
      .filter((request) => request.user === user)
      .map(({ verb, resource, code }) => `${verb} ${resource} ${code}`);
  }

  async function stateOf(
    name: string,
  ): Promise<Pick<ObservedCsr, 'conditions' | 'issued'> | undefined> {
    const csr = (await plane.csrs()).find((candidate) => candidate.name === name);
    return csr && { conditions: csr.conditions, issued: csr.issued };
  }

  /** Waits for the signer. */
  async function issued(name: string): Promise<ObservedCsr> {
    for (;;) {
      const csr = (await plane.csrs()).find((candidate) => candidate.name === name);
      if (csr?.issued === true) return csr;
      await delay(50);
    }
  }

  /** Requests a client certificate with a CSR, and returns it with its key. */
  async function issue(
    requestor: ApiClient,
    name: string,
  ): Promise<{ readonly certificatePem: string; readonly keyPem: string }> {
    const { keyPem } = await submitNodeCsr(requestor, clientCsr(name));
    await issued(name);
    const csr = (await plane.admin.must({ method: 'GET', path: csrPath(name) })) as CsrObject;
    const certificatePem = Buffer.from(csr.status.certificate ?? '', 'base64').toString();
    return { certificatePem, keyPem };
  }
});

function clientCsr(name: string): NodeCsr {
  return { name, nodeName, usage: 'client auth' };
}

function servingCsr(name: string): NodeCsr {
  return { name, nodeName, usage: 'server auth' };
}
