import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import { checkIssued } from '../../src/enroller/issued-certificate.ts';
import { generatePrivateKey } from '../../src/enroller/private-key.ts';
import { verifyTrust } from '../../src/enroller/trust.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { authority, Bench, issue } from './fixtures.ts';

/** Requests that were made to judge a certificate, and what came of it. */
async function judge(
  bench: Bench,
  {
    template = clientTemplate,
    foreign = false,
  }: { readonly template?: CertificateTemplate; readonly foreign?: boolean },
): Promise<{ readonly requests: readonly string[]; readonly error: Error | undefined }> {
  await using access = bench.access();
  await access.ready();
  using key = await generatePrivateKey('ecdsa-p256');
  const ca = await authority('ca');
  const pem = await issue(ca, key.publicKey, template);
  const { publicKey } = key;
  const chain = await checkIssued({ pem, template, publicKey, now: Date.now() });
  const client = access.current();
  const { cluster } = client.access;
  const known = { ...cluster, certificateAuthority: { pem: ca.pem } };
  const stand = foreign
    ? client
    : Object.create(client, { access: { value: { ...client.access, cluster: known } } });
  access.current = () => stand;
  const { signal } = new AbortController();
  const error = await verifyTrust({ access, template, chain, key, signal }).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  assert.doesNotThrow(() => key.pair, 'the key was given up before it was stored');
  return {
    requests: bench.all('api-request').map(({ verb, code }) => `${verb} ${code}`),
    error,
  };
}

describe('verifyTrust()', () => {
  it('believes a chain to the CA of the kubeconfig without a request', async () => {
    await using bench = await Bench.create();
    assert.deepEqual(await judge(bench, {}), { requests: [], error: undefined });
  });

  it('asks the server about another CA, and takes its refusal for a verdict', async () => {
    await using bench = await Bench.create();
    const { requests, error } = await judge(bench, { foreign: true });
    assert.deepEqual(requests, ['get 401']);
    assert.equal((error as { code?: string }).code, 'CERT_UNTRUSTED');
    assert.match(String((error as { remedy?: string }).remedy), /--client-ca-file/);
  });

  it('draws no conclusion from a server that cannot be asked', async () => {
    await using bench = await Bench.create();
    await bench.sandbox.stopListening();
    const { error } = await judge(bench, { foreign: true });
    assert.equal((error as { code?: string }).code, 'API_UNREACHABLE');
  });

  const others: readonly (readonly [string, Partial<CertificateTemplate>])[] = [
    ['serving certificates', { usages: ['digital signature', 'server auth'] }],
    ['signers that are not the API server’s', { signerName: 'example.com/client' }],
  ];
  for (const [what, changes] of others) {
    it(`leaves ${what} to those who use them`, async () => {
      await using bench = await Bench.create();
      const template = { ...clientTemplate, ...changes };
      assert.deepEqual(await judge(bench, { template, foreign: true }), {
        requests: [],
        error: undefined,
      });
    });
  }
});
