import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { minute } from '../../../src/core/instant.ts';
import type { TrustAuthority } from '../../../src/core/trust.ts';
import { without } from '../../../src/core/without.ts';
import { readAuthority } from '../../../src/kube/authorities.ts';
import type { IssuerSearch } from '../../../src/trust/node/issuer.ts';
import { isBehind, issuerOf, issuingAuthority } from '../../../src/trust/node/issuer.ts';
import { derOf } from '../../core/openssl.ts';
import type { Handler } from '../../kube/support/api-server.ts';
import {
  ApiServer,
  base64,
  clientOf,
  sendJson,
  sendStatus,
} from '../../kube/support/api-server.ts';
import type { Authority } from '../../kube/support/certificates.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';

const signerName = 'kubernetes.io/kube-apiserver-client-kubelet';

function trusted({ pem }: Pick<Authority, 'pem'>): TrustAuthority {
  return readAuthority(derOf(Buffer.from(pem)));
}

/** A certificate that was issued so many minutes ago. */
async function leafOf(authority: Authority, age = 0): Promise<Buffer> {
  const notBefore = Date.now() - age * minute;
  const usages = ['client auth'] as const;
  const { cert } = await authority.issue({ commonName: 'node', usages, notBefore });
  return Buffer.from(cert);
}

/** The old CA, and the new CA, which was made a minute later. */
async function rollover(keyIds = true): Promise<{
  readonly before: Authority;
  readonly after: Authority;
  readonly authorities: readonly [TrustAuthority, TrustAuthority];
}> {
  const before = await makeAuthority('kubernetes', { keyIds });
  const after = await makeAuthority('kubernetes', { keyIds });
  const [old, next] = [trusted(before), trusted(after)];
  return { before, after, authorities: [old, { ...next, notBefore: old.notBefore + minute }] };
}

describe('issuerOf()', () => {
  for (const keyIds of [true, false]) {
    it(`finds the CA by its key ${keyIds ? 'with' : 'without'} key identifiers`, async () => {
      const { before, after, authorities } = await rollover(keyIds);
      const [old, next] = authorities;
      assert.equal(issuerOf(await leafOf(before), authorities), old);
      assert.equal(issuerOf(await leafOf(after), authorities), next);
      assert.equal(issuerOf(await leafOf(after), [old]), undefined);
    });
  }

  it('prefers the CA itself to its bridge', async () => {
    const { before, after, authorities } = await rollover();
    const bridge = trusted({ pem: await before.certifyAuthority(after) });
    const [, next] = authorities;
    assert.equal(issuerOf(await leafOf(after), [bridge, next]), next);
    assert.equal(issuerOf(await leafOf(after), [bridge]), bridge);
  });

  it('follows the intermediate CAs in the file', async () => {
    const root = await makeAuthority('root');
    const intermediate = await makeAuthority('intermediate');
    const certified = await root.certifyAuthority(intermediate);
    const leaf = await leafOf(intermediate);
    const authority = trusted(root);
    assert.equal(issuerOf(Buffer.concat([leaf, Buffer.from(certified)]), [authority]), authority);
    assert.equal(issuerOf(Buffer.concat([leaf, Buffer.from(root.pem)]), [authority]), undefined);
  });

  it('ignores the key in the file of a pair', async () => {
    const authority = await makeAuthority('kubernetes');
    const { cert, key } = await authority.issue({ commonName: 'node', usages: ['client auth'] });
    const own = trusted(authority);
    assert.equal(issuerOf(Buffer.from(key + cert), [own]), own);
  });

  it('is undefined without a certificate', async () => {
    const authorities = [trusted(await makeAuthority('kubernetes'))];
    for (const text of [
      '',
      'garbage',
      '-----BEGIN CERTIFICATE-----\nMAMC\n-----END CERTIFICATE-----',
    ]) {
      assert.equal(issuerOf(Buffer.from(text), authorities), undefined);
    }
  });
});

/** An API server with these CSRs. */
function listing(...certificates: readonly (Buffer | undefined)[]): Handler {
  const items = certificates.map((pem) => ({
    status: pem === undefined ? {} : { certificate: base64(pem.toString()) },
  }));
  return (_, response) => {
    sendJson(response, { metadata: {}, items });
  };
}

const forbidden: Handler = (_, response) => {
  sendStatus(response, 403, { reason: 'Forbidden' });
};

const broken: Handler = (_, response) => {
  sendStatus(response, 500);
};

async function search(
  handler: Handler,
  parts: Pick<IssuerSearch, 'leaf' | 'authorities'> & Partial<IssuerSearch>,
): Promise<{ readonly issuing: TrustAuthority | undefined; readonly urls: string[] }> {
  await using server = await ApiServer.start(handler);
  await using client = await clientOf(server);
  const signal = AbortSignal.timeout(60_000);
  const issuing = await issuingAuthority({
    signerName,
    served: async () => [],
    client,
    signal,
    ...parts,
  });
  return { issuing, urls: server.requests.map(({ url }) => url) };
}

describe('issuingAuthority()', () => {
  it('is the CA of the newest certificate of the signer', async () => {
    const { before, after, authorities } = await rollover();
    const leaf = await leafOf(before, 60);
    const issued = [await leafOf(before, 20), await leafOf(after, 10), undefined];
    const { issuing, urls } = await search(listing(...issued), { leaf, authorities });
    assert.equal(issuing, authorities[1]);
    const query = `fieldSelector=spec.signerName%3D${encodeURIComponent(signerName)}&limit=50`;
    assert.deepEqual(urls, [`/apis/certificates.k8s.io/v1/certificatesigningrequests?${query}`]);
  });

  it('returns to the old CA when the signer does', async () => {
    const { before, after, authorities } = await rollover();
    const leaf = await leafOf(after, 20);
    const { issuing } = await search(listing(await leafOf(before, 10)), { leaf, authorities });
    assert.equal(issuing, authorities[0]);
  });

  it('counts the certificate of the node, so that it is not renewed again', async () => {
    const { before, after, authorities } = await rollover();
    const leaf = await leafOf(after, 1);
    const { issuing } = await search(listing(await leafOf(before, 10)), { leaf, authorities });
    assert.equal(issuing, authorities[1]);
  });

  it('is unknown if the signer has a CA that verifies no server', async () => {
    const { before, authorities } = await rollover();
    const clients = await makeAuthority('k3s-client-ca');
    const leaf = await leafOf(before, 20);
    const { issuing } = await search(listing(await leafOf(clients)), { leaf, authorities });
    assert.equal(issuing, undefined);
  });

  it('lists no CSRs while there is one CA', async () => {
    const authority = await makeAuthority('kubernetes');
    const authorities = [trusted(authority)];
    const leaf = await leafOf(authority);
    const { issuing, urls } = await search(forbidden, { leaf, authorities });
    assert.equal(issuing, authorities[0]);
    assert.deepEqual(urls, []);
  });

  it('is the CA that the configuration names', async () => {
    const { before, authorities } = await rollover();
    const leaf = await leafOf(before);
    const [, next] = authorities;
    const configured = next.fingerprint;
    const { issuing, urls } = await search(forbidden, { leaf, authorities, configured });
    assert.equal(issuing, next);
    assert.deepEqual(urls, []);
    assert.equal(
      (await search(forbidden, { leaf, authorities, configured: '00' })).issuing,
      undefined,
    );
  });

  for (const [what, handler] of Object.entries({ 'a 403': forbidden, 'no CSRs': listing() })) {
    it(`is the newest served CA after ${what}`, async () => {
      const { before, after, authorities } = await rollover();
      const served = [
        [new X509Certificate(await leafOf(before))],
        [new X509Certificate(await leafOf(after))],
      ];
      const parts = { leaf: await leafOf(before), authorities };
      assert.equal(
        (await search(handler, { ...parts, served: async () => served })).issuing,
        authorities[1],
      );
      assert.equal((await search(handler, parts)).issuing, authorities[0]);
    });
  }

  it('does not return to an older CA that is served', async () => {
    const { before, after, authorities } = await rollover();
    const served = [[new X509Certificate(await leafOf(before))]];
    const leaf = await leafOf(after);
    const parts = { leaf, authorities, served: async () => served };
    assert.equal((await search(forbidden, parts)).issuing, authorities[1]);
  });

  it('reports an API server that fails', async () => {
    const { before, authorities } = await rollover();
    const leaf = await leafOf(before);
    await assert.rejects(search(broken, { leaf, authorities }), { code: 'API_SERVER_ERROR' });
  });
});

describe('isBehind()', () => {
  it('compares keys, and ignores an unknown CA', async () => {
    const { authorities } = await rollover();
    const [old, next] = authorities;
    const renewed = without({ ...old, fingerprint: 'renewed' }, 'subjectKeyId');
    assert.equal(isBehind(old, next), true);
    assert.equal(isBehind(old, renewed), false);
    assert.equal(isBehind(undefined, next), false);
    assert.equal(isBehind(old, undefined), false);
  });
});
