import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { keyAlgorithms } from '../../src/core/certificate-spec.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { parseCertificate } from '../../src/core/x509.ts';
import type { CsrObject } from './api-object.ts';
import { hasCondition } from './api-object.ts';
import type { ApiClient } from '../support/api-client.ts';
import type { Asked, Running } from './fixtures.ts';
import { certificateOf, csrBody, csrsPath, makeRequest } from './fixtures.ts';
import { run, servingSpec, waitFor } from './fixtures.ts';

interface Submission {
  readonly name: string;
  readonly asked?: Asked;
  readonly spec?: Readonly<Record<string, unknown>>;
}

async function submit(client: ApiClient, { name, asked, spec }: Submission): Promise<void> {
  const { pem } = await makeRequest(asked);
  await client.must({ method: 'POST', path: csrsPath, body: csrBody(name, pem, spec) });
}

function isIssued(csr: CsrObject): boolean {
  return csr.status.certificate !== undefined;
}

/** Returns the CSR after a later one was issued, so the controllers have already skipped it. */
async function settled(running: Running, name: string): Promise<CsrObject | undefined> {
  const marker = `after-${name}-${running.sandbox.csrs().length}`;
  await submit(running.bootstrapper, { name: marker });
  await waitFor(running.bootstrapper, marker, isIssued);
  return running.sandbox.csrs().find((csr) => csr.metadata.name === name);
}

const serving: Asked = { ipAddresses: ['10.0.0.1', 'fd00::1'], dnsNames: ['worker-1'] };

describe('CertificateControllers', { timeout: 30_000 }, () => {
  for (const key of keyAlgorithms) {
    it(`issue for an ${key} key, backdated, for the signing duration`, async () => {
      await using running = await run({ signingSeconds: 20 });
      const rsa = key.startsWith('rsa-') ? ['key encipherment'] : [];
      await submit(running.bootstrapper, {
        name: 'mine',
        asked: { key },
        spec: { usages: ['digital signature', ...rsa, 'client auth'], expirationSeconds: 600 },
      });
      const csr = await waitFor(running.bootstrapper, 'mine', isIssued);
      const [approved] = csr.status.conditions ?? [];
      assert.equal(approved?.type, 'Approved');
      assert.equal(approved?.reason, 'AutoApproved');
      const certificate = new X509Certificate(certificateOf(csr));
      const { facts } = await parseCertificate(new Uint8Array(certificate.raw));
      assert.deepEqual(facts.subject, {
        commonName: 'system:node:worker-1',
        organizations: ['system:nodes'],
      });
      assert.deepEqual(facts.usages, ['digital signature', ...rsa, 'client auth']);
      assert.equal(facts.notBefore, running.clock.now() - 5 * minute);
      assert.equal(facts.notAfter, running.clock.now() + 20 * second);
      assert.equal(certificate.ca, false);
      assert.ok(certificate.verify(new X509Certificate(running.sandbox.caPem).publicKey));
    });
  }

  const lifetimes: readonly (readonly [string, object, number])[] = [
    ['a year, less the backdating', {}, 365 * day - 5 * minute],
    ['the requested duration', { expirationSeconds: 3600 }, hour],
  ];
  for (const [what, spec, lifetime] of lifetimes) {
    it(`issue for ${what}, by the signing duration of the request`, async () => {
      await using running = await run();
      await submit(running.bootstrapper, { name: 'mine', spec: { ...spec } });
      const csr = await waitFor(running.bootstrapper, 'mine', isIssued);
      const end = new X509Certificate(certificateOf(csr)).validToDate.getTime();
      assert.equal(end, running.clock.now() + lifetime);
    });
  }

  it('issue serving certificates with their SANs after approval by hand', async () => {
    await using running = await run();
    const node = await running.connectNode('worker-1');
    await submit(node, { name: 'serving', asked: serving, spec: servingSpec });
    assert.deepEqual((await settled(running, 'serving'))?.status, {});
    running.sandbox.approve('serving');
    const csr = await waitFor(node, 'serving', isIssued);
    const certificate = new X509Certificate(certificateOf(csr));
    const { facts } = await parseCertificate(new Uint8Array(certificate.raw));
    assert.deepEqual([...facts.ipAddresses], ['10.0.0.1', 'fd00::1']);
    assert.deepEqual([...facts.dnsNames], ['worker-1']);
    assert.deepEqual(facts.usages, ['digital signature', 'server auth']);
  });

  it("approve a node's own serving certificate if configured to", async () => {
    await using running = await run({ approvingServing: true });
    const node = await running.connectNode('worker-1');
    await submit(node, { name: 'own', asked: serving, spec: servingSpec });
    await waitFor(node, 'own', isIssued);
    await submit(running.bootstrapper, { name: 'other', asked: serving, spec: servingSpec });
    assert.deepEqual((await settled(running, 'other'))?.status, {});
  });

  it('fail an approved CSR of the wrong shape: SignerValidationFailure', async () => {
    await using running = await run();
    await submit(running.bootstrapper, { name: 'bare', asked: {}, spec: servingSpec });
    running.sandbox.approve('bare');
    const csr = await waitFor(running.bootstrapper, 'bare', (found) =>
      hasCondition(found, 'Failed'),
    );
    const failed = csr.status.conditions?.find(({ type }) => type === 'Failed');
    assert.equal(failed?.reason, 'SignerValidationFailure');
    assert.match(failed?.message ?? '', /DNS or IP subjectAltName is required/);
    assert.equal(csr.status.certificate, undefined);
  });

  it('do not sign a denied or failed CSR', async () => {
    await using running = await run({ approving: false });
    const { sandbox, bootstrapper } = running;
    await submit(bootstrapper, { name: 'denied' });
    await submit(bootstrapper, { name: 'failed' });
    sandbox.deny('denied', 'NotWanted');
    sandbox.fail('failed', 'NotPossible');
    sandbox.setApproving(true);
    const denied = await settled(running, 'denied');
    assert.deepEqual(
      denied?.status.conditions?.map(({ type, reason }) => ({ type, reason })),
      [{ type: 'Denied', reason: 'NotWanted' }],
    );
    const failed = await settled(running, 'failed');
    assert.equal(failed?.status.certificate, undefined);
  });

  it('process the pending CSRs when they are switched on', async () => {
    await using running = await run({ approving: false, signing: false });
    const { sandbox, bootstrapper } = running;
    await submit(bootstrapper, { name: 'waiting' });
    sandbox.setApproving(true);
    const approved = await waitFor(bootstrapper, 'waiting', (csr) => hasCondition(csr, 'Approved'));
    assert.equal(approved.status.certificate, undefined);
    sandbox.setSigning(true);
    await waitFor(bootstrapper, 'waiting', isIssued);
  });

  it('ignore the CSRs of other signers', async () => {
    await using running = await run();
    await submit(running.bootstrapper, {
      name: 'custom',
      asked: { commonName: 'exporter', organizations: [] },
      spec: { signerName: 'example.com/serving' },
    });
    running.sandbox.approve('custom');
    const csr = await settled(running, 'custom');
    assert.deepEqual(
      csr?.status.conditions?.map(({ type }) => type),
      ['Approved'],
    );
    assert.equal(csr.status.certificate, undefined);
  });

  it('sign for custom signers with a CA that the API does not trust', async () => {
    await using running = await run({ customSigners: ['example.com/any'] });
    const { pem, keyPem } = await makeRequest({
      commonName: 'root',
      organizations: ['system:masters'],
    });
    const body = csrBody('custom', pem, { signerName: 'example.com/any' });
    await running.bootstrapper.must({ method: 'POST', path: csrsPath, body });
    running.sandbox.approve('custom');
    const certificatePem = certificateOf(await waitFor(running.admin, 'custom', isIssued));
    const ca = new X509Certificate(running.sandbox.customCaPem);
    assert.ok(new X509Certificate(certificatePem).verify(ca.publicKey));
    const impostor = running.connect({ certificatePem, keyPem });
    assert.equal((await impostor.request({ method: 'GET', path: csrsPath })).status, 401);
  });

  it('never issue a certificate that outlives the CA', async () => {
    await using running = await run({ caSeconds: 3600, signingSeconds: 86_400 });
    const { sandbox, bootstrapper, clock } = running;
    const end = new X509Certificate(sandbox.caPem).validToDate.getTime();
    await submit(bootstrapper, { name: 'capped' });
    const csr = await waitFor(bootstrapper, 'capped', isIssued);
    assert.equal(new X509Certificate(certificateOf(csr)).validToDate.getTime(), end);
    clock.jump(3600 * second);
    await submit(bootstrapper, { name: 'too-late' });
    const late = await waitFor(bootstrapper, 'too-late', (found) =>
      hasCondition(found, 'Approved'),
    );
    assert.equal(late.status.certificate, undefined);
    assert.equal(hasCondition(late, 'Failed'), false);
  });
});
