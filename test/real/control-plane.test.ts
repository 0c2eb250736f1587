import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { webcrypto, x509 } from '../../src/core/x509.ts';
import { ApiClient } from '../support/api-client.ts';
import type { ObservedCsr } from '../support/control-plane.ts';
import { bootstrapToken } from '../support/real-bootstrap.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import { csrPath, newCsr } from '../support/real-csr.ts';
import type { CsrObject } from '../support/real-csr.ts';

const node = 'system:node:worker-1';
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
    await submit(identity, servingRequest('serving-1'), await newKeys());
    // A later client CSR is approved, so the approver has already skipped this one.
    await issue(identity, 'after-serving-1');
    assert.deepEqual(await stateOf('serving-1'), { conditions: [], issued: false });

    await plane.approve('serving-1');
    const csr = await issued('serving-1');
    assert.deepEqual(csr.conditions, ['Approved']);
    assert.equal(csr.username, node);
  });

  it('denies, fails and deletes CSRs', async () => {
    await submit(identity, servingRequest('to-deny'), await newKeys());
    await submit(identity, servingRequest('to-fail'), await newKeys());
    await plane.deny('to-deny', 'not wanted');
    await plane.fail('to-fail', 'SignerValidationFailure');
    assert.deepEqual(await stateOf('to-deny'), { conditions: ['Denied'], issued: false });
    assert.deepEqual(await stateOf('to-fail'), { conditions: ['Failed'], issued: false });

    await plane.deleteCsr('to-deny');
    assert.equal(await stateOf('to-deny'), undefined);
  });

  it('stops and resumes approving', async () => {
    await plane.setApproving(false);
    await submit(identity, clientRequest('unapproved'), await newKeys());
    await submit(identity, servingRequest('approved-by-hand'), await newKeys());
    await plane.approve('approved-by-hand');
    // The signer works while the approver is off.
    await issued('approved-by-hand');
    assert.deepEqual(await stateOf('unapproved'), { conditions: [], issued: false });

    await plane.setApproving(true);
    assert.deepEqual((await issued('unapproved')).conditions, ['Approved']);
  });

  it('keeps its port and its state while the API server is down', async () => {
    await submit(identity, servingRequest('survivor'), await newKeys());
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
    await submit(identity, servingRequest('counted'), await newKeys());
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
    const keys = await newKeys();
    await submit(requestor, clientRequest(name), keys);
    await issued(name);
    const csr = (await plane.admin.must({ method: 'GET', path: csrPath(name) })) as CsrObject;
    const der = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      certificatePem: Buffer.from(csr.status.certificate ?? '', 'base64').toString(),
      keyPem: x509.PemConverter.encode(der, 'PRIVATE KEY'),
    };
  }
});

interface CsrRequest {
  readonly name: string;
  readonly signerName: string;
  readonly usage: 'client auth' | 'server auth';
  readonly extensions: readonly x509.Extension[];
}

function clientRequest(name: string): CsrRequest {
  return { name, signerName: kubeletClientSigner, usage: 'client auth', extensions: [] };
}

function servingRequest(name: string): CsrRequest {
  const addresses = new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '192.0.2.1' }]);
  return {
    name,
    signerName: kubeletServingSigner,
    usage: 'server auth',
    extensions: [addresses],
  };
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function submit(
  requestor: ApiClient,
  { name, signerName, usage, extensions }: CsrRequest,
  keys: CryptoKeyPair,
): Promise<void> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: `O=system:nodes,CN=${node}`,
      keys,
      signingAlgorithm: algorithm,
      extensions: [...extensions],
    },
    webcrypto,
  );
  await requestor.must({
    method: 'POST',
    path: csrPath(),
    body: newCsr({
      name,
      request: request.toString('pem'),
      signerName,
      usages: ['digital signature', usage],
    }),
  });
}
