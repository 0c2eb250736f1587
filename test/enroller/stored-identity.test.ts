import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { hour } from '../../src/core/instant.ts';
import { generatePrivateKey, pairPem } from '../../src/enroller/private-key.ts';
import { isNamedBy, storedIdentity } from '../../src/enroller/stored-identity.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import { authority, Bench, issue } from './fixtures.ts';

/** Writes a pair from a CA that the sandbox does not know, and a kubeconfig that names another certificate. */
async function withPair(bench: Bench, lifetime = hour): Promise<string> {
  using key = await generatePrivateKey('ecdsa-p256');
  const leaf = await issue(await authority('ca'), key.publicKey, {
    notAfter: Date.now() + lifetime,
  });
  const path = join(bench.config.certificateDirectory, 'kubelet-client-current.pem');
  await writeFile(path, pairPem(leaf, key).expose(), { mode: 0o600 });
  await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
  return path;
}

function byLink(pair: string): Record<string, string> {
  return { 'client-certificate': pair, 'client-key': pair };
}

function byToken(): Record<string, string> {
  return { token: 'abc' };
}

describe('storedIdentity()', () => {
  it('returns the valid pair behind the link', async () => {
    await using bench = await Bench.create();
    const path = await withPair(bench);
    const identity = await storedIdentity(path, Date.now());
    assert.ok(identity !== undefined);
    assert.match(Buffer.from(identity.certificate.pem).toString(), /^-----BEGIN CERTIFICATE/);
    assert.doesNotMatch(Buffer.from(identity.certificate.pem).toString(), /PRIVATE/);
    using access = await loadKubeconfig(bench.config.kubeconfig);
    assert.equal(isNamedBy(access, identity), false);
    const own = { ...access, credential: { clientCertificate: identity.certificate } };
    assert.equal(isNamedBy(own, identity), true);
  });

  for (const [name, break_] of [
    ['there is none', async (path: string) => writeFile(`${path}.x`, '')],
    ['it is damaged', async (path: string) => writeFile(path, 'junk')],
  ] as const) {
    it(`returns undefined when ${name}`, async () => {
      await using bench = await Bench.create();
      const path = await withPair(bench);
      await break_(path);
      const wanted = name === 'there is none' ? `${path}.x` : path;
      assert.equal(await storedIdentity(wanted, Date.now()), undefined);
    });
  }

  it('returns undefined for an expired pair', async () => {
    await using bench = await Bench.create();
    const path = await withPair(bench);
    assert.equal(await storedIdentity(path, Date.now() + 2 * hour), undefined);
  });
});

describe('ApiAccess with its own pair', () => {
  it('uses the pair with the cluster of a stale kubeconfig, and reports the file', async () => {
    await using bench = await Bench.create();
    const pair = await withPair(bench);
    await using access = bench.access(pair);
    await access.ready();
    const { clientCertificate } = access.current().access.credential;
    const identity = await storedIdentity(pair, Date.now());
    assert.deepEqual(clientCertificate?.pem, identity?.certificate.pem);
    assert.equal(access.current().access.cluster.server, bench.sandbox.server);
    assert.deepEqual(
      bench.all('stale-kubeconfig').map((report) => report.pair),
      [pair],
    );
  });

  for (const [name, userOf, impersonated] of [
    ['keeps the impersonation of a user entry that names the pair', byLink, 'jane'],
    ['drops the impersonation of a user entry with another credential', byToken, undefined],
  ] as const) {
    it(name, async () => {
      await using bench = await Bench.create();
      const pair = await withPair(bench);
      const document: unknown = parse(bench.sandbox.adminKubeconfig());
      const { users, ...rest } = document as { users: { name: string }[] };
      const user = { ...userOf(pair), as: 'jane' };
      const text = stringify({ ...rest, users: [{ name: users[0]?.name, user }] });
      await writeFile(bench.config.kubeconfig, text);
      await using access = bench.access(pair);
      await access.ready();
      assert.equal(access.current().access.credential.impersonation?.user, impersonated);
    });
  }

  it('alternates with the credential of the kubeconfig after a 401', async () => {
    await using bench = await Bench.create();
    await using access = bench.access(await withPair(bench));
    const subjects: (string | undefined)[] = [];
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await access.ready();
      const { clientCertificate } = access.current().access.credential;
      subjects.push(Buffer.from(clientCertificate?.pem ?? []).toString());
      access.invalidate();
    }
    assert.notEqual(subjects[0], subjects[1]);
    assert.equal(subjects[0], subjects[2]);
  });
});
