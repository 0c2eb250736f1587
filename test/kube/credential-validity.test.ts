import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { hour, minute } from '../../src/core/instant.ts';
import { credentialValidity, loadValidKubeconfig } from '../../src/kube/credential-validity.ts';
import { base64, kubeconfigText, temporaryFolder } from './support/api-server.ts';
import { makeAuthority } from './support/certificates.ts';
import { failureOf } from './support/requests.ts';

const now = Date.UTC(2026, 5, 1);
const authority = await makeAuthority('ca');
const leaf = await authority.issue({
  commonName: 'node',
  usages: ['client auth'],
  notBefore: now - 2 * hour,
  notAfter: now + 2 * hour,
});
const shorter = await authority.issue({
  commonName: 'intermediate',
  usages: ['client auth'],
  notBefore: now - 2 * hour,
  notAfter: now + hour,
});

async function load(user: Record<string, unknown>, moment: number): Promise<number | undefined> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kubeconfig');
  await writeFile(path, kubeconfigText({ cluster: { server: 'https://x' }, user }));
  return credentialValidity(await loadValidKubeconfig(path, moment))?.notAfter;
}

function user(cert: string, key = leaf.key): Record<string, unknown> {
  return { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) };
}

describe('loadValidKubeconfig()', () => {
  it('accepts a client certificate up to its last second', async () => {
    assert.equal(await load(user(leaf.cert), now), now + 2 * hour);
    assert.equal(await load(user(leaf.cert), now + 2 * hour), now + 2 * hour);
    const failure = await failureOf(load(user(leaf.cert), now + 2 * hour + 1));
    assert.equal(failure.code, 'CREDENTIAL_EXPIRED');
    assert.match(failure.message, /expired at 2026-06-01T02:00:00Z$/);
  });

  it('checks every certificate of the chain, as the kubelet does', async () => {
    const chain = user(leaf.cert + shorter.cert);
    assert.equal(await load(chain, now), now + hour);
    assert.equal((await failureOf(load(chain, now + hour + 1))).code, 'CREDENTIAL_EXPIRED');
  });

  it('rejects a certificate that is not valid yet, with leeway for clocks', async () => {
    const begins = now - 2 * hour;
    assert.equal(await load(user(leaf.cert), begins - minute), now + 2 * hour);
    const failure = await failureOf(load(user(leaf.cert), begins - minute - 1));
    assert.equal(failure.code, 'CERT_NOT_YET_VALID');
    assert.match(
      failure.message,
      /not valid before 2026-05-31T22:00:00Z; the clock of this node shows 2026-05-31T21:58:59Z$/,
    );
  });

  it('rejects a token without a client certificate', async () => {
    const failure = await failureOf(load({ token: 'abc' }, now));
    assert.equal(failure.code, 'KUBECONFIG_INVALID');
    assert.match(failure.message, /has no client certificate/);
  });

  it('rejects a key that belongs to another certificate', async () => {
    const failure = await failureOf(load(user(leaf.cert, shorter.key), now));
    assert.equal(failure.code, 'KUBECONFIG_INVALID');
    assert.match(failure.message, /cannot be used for TLS/);
  });

  it('reports a missing file', async () => {
    assert.equal(
      (await failureOf(loadValidKubeconfig('/does/not/exist', now))).code,
      'KUBECONFIG_MISSING',
    );
  });
});
