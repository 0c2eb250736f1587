import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import type { CaPin } from '../../src/core/ca-pin.ts';
import { parseCaPin } from '../../src/core/ca-pin.ts';
import type { AgentConfig } from '../../src/core/config.ts';
import type { AgentError } from '../../src/core/errors.ts';
import { toFailure } from '../../src/core/errors.ts';
import type { ClusterEndpoint } from '../../src/kube/cluster-access.ts';
import { hour } from '../../src/core/instant.ts';
import type { ApiAccess } from '../../src/enroller/api-access.ts';
import type { Enroller } from '../../src/enroller/enroller.ts';
import { generatePrivateKey, pairPem } from '../../src/enroller/private-key.ts';
import { confirmationPause } from '../../src/enroller/refused-pair.ts';
import { whoAmI } from '../../src/kube/access-review.ts';
import type { Clock } from '../../src/sys/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientTemplate, servingSpec, servingTemplate } from '../core/fixtures.ts';
import { clientSpec } from '../keeper/fixtures.ts';
import { base64 } from '../kube/support/api-server.ts';
import { pinOf } from '../support/discovery-plane.ts';
import { trustDefaults } from '../support/trust-defaults.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { userOf, withOldCa } from './credentials.ts';
import { discoveryOf, pin, withDiscovery } from './discovered.ts';
import { enrolledPair, enrollerOn } from './enrolled-pair.ts';
import { authority, Bench, issue } from './fixtures.ts';

/** The clock of the system, but the pause before the second request passes at once. */
const clock: Clock = {
  ...systemClock,
  sleep: async (ms, signal) => systemClock.sleep(ms === confirmationPause ? 0 : ms, signal),
};
const refusal = { code: 'API_UNAUTHORIZED', message: '401' } as const;

/** The valid pair of a CA that the API server does not trust, and a kubeconfig that names it. */
async function withRefusedPair(bench: Bench): Promise<string> {
  using key = await generatePrivateKey('ecdsa-p256');
  const leaf = await issue(await authority('old'), key.publicKey, { notAfter: Date.now() + hour });
  const path = join(bench.config.certificateDirectory, 'kubelet-client-current.pem');
  await writeFile(path, pairPem(leaf, key).expose(), { mode: 0o600 });
  const { users, ...rest } = parse(bench.sandbox.adminKubeconfig()) as {
    readonly users: readonly { readonly name: string }[];
  };
  const user = { 'client-certificate': path, 'client-key': path };
  const text = stringify({ ...rest, users: [{ name: users[0]?.name, user }] });
  await writeFile(bench.config.kubeconfig, text, { mode: 0o600 });
  return path;
}

function accessOf(bench: Bench, pair: string, config: AgentConfig = bench.config): ApiAccess {
  return bench.access(pair, { config, clock });
}

/** The user after the API server has answered 401 to the first request. */
async function userAfter401(access: ApiAccess): Promise<string> {
  await access.ready();
  assert.equal(access.failed(refusal), true);
  return userOf(access);
}

async function errorAfter401(access: ApiAccess): Promise<AgentError> {
  let found: AgentError | undefined;
  await assert.rejects(userAfter401(access), (error: AgentError) => {
    found = error;
    return error.code === 'API_UNAUTHORIZED';
  });
  if (found === undefined) throw new Error('unreachable');
  return found;
}

describe('ApiAccess after a 401', () => {
  it('uses the bootstrap credential if the API server rejects the pair twice', async () => {
    await using bench = await Bench.create();
    await using access = accessOf(bench, await withRefusedPair(bench));
    assert.equal(await userAfter401(access), 'system:bootstrap');
    assert.deepEqual([access.source, access.isJoining], ['bootstrap', false]);
    assert.match(bench.all('identity-refused')[0]?.error ?? '', /401/);
  });

  it('keeps the cluster of the kubeconfig, whose CAs have verified the API server', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    await bench.writeBootstrap(
      bench.sandbox.bootstrapKubeconfig().replace(bench.sandbox.server, 'https://192.0.2.1:6443'),
    );
    await using access = accessOf(bench, pair);
    assert.equal(await userAfter401(access), 'system:bootstrap');
  });

  it('uses the token of the discovery if the discovered CAs verify the API server', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    bench.discover = async () => discoveryOf(bench.sandbox);
    await using access = accessOf(bench, pair, await withDiscovery(bench));
    assert.equal(await userAfter401(access), 'system:bootstrap');
    assert.equal(access.isJoining, false);
  });

  it('sends the token of the discovery to no server that its CAs do not verify', async () => {
    await using bench = await Bench.create();
    await using other = await startSandbox({ clock: systemClock });
    const pair = await withRefusedPair(bench);
    bench.discover = async () => discoveryOf(other);
    await using access = accessOf(bench, pair, await withDiscovery(bench));
    await assert.rejects(userAfter401(access), { code: 'CLUSTER_UNTRUSTED' });
    assert.ok(bench.sandbox.audit().every(({ user }) => !user.startsWith('system:bootstrap')));
  });

  it('keeps the pair if the API server accepts it the second time', async () => {
    await using bench = await Bench.create();
    await using access = accessOf(bench, await enrolledPair(bench));
    assert.equal(await userAfter401(access), 'system:node:worker-1');
    assert.deepEqual(bench.all('identity-refused'), []);
  });

  it('checks the pair if the 401 comes while another client is being opened', async () => {
    await using bench = await Bench.create();
    await using access = accessOf(bench, await withRefusedPair(bench));
    await access.ready();
    const opening = access.refresh();
    assert.equal(access.failed(refusal), true);
    await opening;
    await access.ready();
    assert.equal(access.source, 'bootstrap');
  });

  it('keeps the pair after another failure', async () => {
    await using bench = await Bench.create();
    await using access = accessOf(bench, await withRefusedPair(bench));
    await access.ready();
    assert.equal(access.failed({ code: 'API_FORBIDDEN', message: '403' }), false);
    await access.ready();
    assert.equal(access.source, 'kubeconfig');
    assert.deepEqual(bench.all('api-request'), []);
  });

  it('sends no token to a server that it does not verify', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    const insecure = text.replace(
      /certificate-authority-data: .*/,
      'insecure-skip-tls-verify: true',
    );
    await writeFile(bench.config.kubeconfig, insecure);
    await using access = accessOf(bench, pair);
    await errorAfter401(access);
    assert.equal(access.source, 'kubeconfig');
  });

  it('names the command with the known pin without a bootstrap kubeconfig', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    const { bootstrapKubeconfig = '' } = bench.config;
    await rm(bootstrapKubeconfig);
    await using access = accessOf(bench, pair);
    const { message, remedy = '' } = await errorAfter401(access);
    assert.equal(
      message,
      `the API server rejects the client certificate of this node, and kubeconfig ${bootstrapKubeconfig} does not exist`,
    );
    const command = `nodecertd discover --endpoint ${new URL(bench.sandbox.server).host} --token-file FILE --ca-cert-hash ${pinOf(bench.sandbox.caPem)} sha256:HEX --output ${bootstrapKubeconfig}`;
    assert.ok(remedy.endsWith(command), remedy);
    assert.match(remedy, /^If the CA that issued it was removed too early, .* --client-ca-file/);
    assert.deepEqual(bench.all('identity-refused'), []);
  });

  it('names the command if the token has expired, and recovers with another token', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    const good = bench.sandbox.bootstrapKubeconfig();
    await bench.writeBootstrap(good.replace(/token: .*/, 'token: aaaaaa.0123456789abcdef'));
    await using access = accessOf(bench, pair);
    const { message, remedy = '' } = await errorAfter401(access);
    assert.match(message, /, and the credential of .*bootstrap\.conf too$/);
    assert.ok(remedy.endsWith(' --force'), remedy);
    await bench.writeBootstrap(good);
    await access.ready();
    assert.equal(access.source, 'bootstrap');
  });

  it('returns to the pair once the API server accepts it again', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    const refused = await readFile(pair);
    await using access = accessOf(bench, pair);
    await userAfter401(access);
    await rm(pair);
    const accepted = await enrolledPair(bench);
    assert.notDeepEqual(await readFile(accepted), refused);
    await access.ready();
    assert.equal(access.source, 'kubeconfig');
  });
});

function enrollerWith(bench: Bench): Enroller {
  return enrollerOn(bench, { ...bench.config, certificates: [clientSpec, servingSpec] }, clock);
}

/** Replaces the CA in the kubeconfig by one that does not verify the API server. */
async function loseTrust({ config, sandbox }: Bench): Promise<void> {
  const text = await readFile(config.kubeconfig, 'utf8');
  await writeFile(config.kubeconfig, withOldCa(text, sandbox));
}

async function failOnce(access: ApiAccess): Promise<boolean> {
  await access.ready();
  const error: unknown = await whoAmI(access.current(), new AbortController().signal).catch(
    (thrown: unknown) => thrown,
  );
  return access.failed(toFailure(error));
}

describe('ApiAccess without a CA that verifies the API server', () => {
  it('uses the CAs of the bootstrap kubeconfig with the pair, and keeps them', async () => {
    await using bench = await Bench.create();
    const clientPair = await enrolledPair(bench);
    await loseTrust(bench);
    const kept: string[] = [];
    const keepTrust = async ({ certificateAuthority }: ClusterEndpoint): Promise<void> => {
      kept.push(Buffer.from(certificateAuthority?.pem ?? []).toString());
    };
    await using access = bench.access(clientPair, { clock, keepTrust });
    assert.equal(await failOnce(access), true);
    await access.ready();
    assert.equal(access.source, 'kubeconfig');
    const { customCaPem, caPem } = bench.sandbox;
    assert.deepEqual(kept, [customCaPem + caPem]);
  });

  it('joins with the bootstrap kubeconfig if the API server rejects the pair', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    await loseTrust(bench);
    await using access = accessOf(bench, pair);
    assert.equal(await failOnce(access), true);
    await access.ready();
    assert.deepEqual([access.source, access.isJoining], ['bootstrap', true]);
    assert.equal(bench.all('identity-refused').length, 1);
  });

  it('refuses a CA of the bootstrap kubeconfig that trust.caCertHashes lacks', async () => {
    await using bench = await Bench.create();
    const clientPair = await enrolledPair(bench);
    await loseTrust(bench);
    const configWith = (hash: CaPin): AgentConfig => ({
      ...bench.config,
      trust: { ...trustDefaults, pins: [hash] },
    });
    await using access = bench.access(clientPair, { clock, config: configWith(pin) });
    for (const attempt of [1, 2]) {
      assert.equal(await failOnce(access), true);
      await assert.rejects(access.ready(), {
        code: 'API_UNTRUSTED',
        message:
          /^the kubeconfig of the node has no CA that verifies .* is not in trust.caCertHashes$/,
        remedy: /^If this CA is right, add sha256:[0-9a-f]{64} to trust.caCertHashes; otherwise/,
      });
      assert.equal(bench.all('api-request').length, attempt);
    }
    const pinned = configWith(parseCaPin(pinOf(bench.sandbox.caPem)) ?? pin);
    await using other = bench.access(clientPair, { clock, config: pinned });
    assert.equal(await failOnce(other), true);
    await other.ready();
    assert.equal(other.source, 'kubeconfig');
  });

  it('dials once in each attempt if the bootstrap kubeconfig has no other CA', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    await loseTrust(bench);
    await bench.writeBootstrap(withOldCa(bench.sandbox.bootstrapKubeconfig(), bench.sandbox));
    await using access = accessOf(bench, pair);
    for (const attempt of [1, 2]) {
      assert.equal(await failOnce(access), true);
      await assert.rejects(access.ready(), { code: 'API_UNTRUSTED', message: /was signed by/ });
      assert.equal(bench.all('api-request').length, attempt);
    }
  });
});

describe('Enroller with a pair that the API server rejects', () => {
  const enroll = {
    type: 'enroll',
    name: 'kubelet-client',
    id: 1,
    template: clientTemplate,
  } as const;

  it('tells the keeper after a lookup, and requests the next pair with the token', async () => {
    await using bench = await Bench.create();
    const pair = await withRefusedPair(bench);
    const [refused, kubeconfig] = [await readFile(pair), await readFile(bench.config.kubeconfig)];
    await using enroller = enrollerWith(bench);
    enroller.handle({ type: 'look-up-addresses', id: 9, follow: false });
    const { failure } = await bench.first('addresses-failed');
    assert.match(failure.message, /no client certificate that the API server accepts$/);
    assert.equal(bench.all('identity-refused').length, 1);
    enroller.handle(enroll);
    const stored = await bench.first('stored');
    assert.equal(stored.pair.subject.commonName, 'system:node:worker-1');
    assert.notDeepEqual(await readFile(pair), refused);
    assert.deepEqual(await readFile(bench.config.kubeconfig), kubeconfig);
    const users = bench.sandbox.csrs().map(({ spec }) => spec.username);
    assert.deepEqual(users, [`system:bootstrap:${users[0]?.slice(-6)}`]);
  });

  it('requests the next pair with the token in the attempt that gets the 401', async () => {
    await using bench = await Bench.create();
    await withRefusedPair(bench);
    await using enroller = enrollerWith(bench);
    enroller.handle(enroll);
    await bench.first('stored');
    assert.equal(bench.sandbox.csrs().length, 1);
    assert.deepEqual(bench.all('failed'), []);
  });

  it('creates no CSR without a bootstrap credential', async () => {
    await using bench = await Bench.create();
    await withRefusedPair(bench);
    await rm(bench.config.bootstrapKubeconfig ?? '');
    await using enroller = enrollerWith(bench);
    enroller.handle(enroll);
    const { failure, resumable } = await bench.first('failed');
    assert.deepEqual([failure.code, resumable], ['API_UNAUTHORIZED', false]);
    assert.match(failure.remedy ?? '', /nodecertd discover/);
    enroller.handle({ ...enroll, id: 2 });
    await bench.first('failed', 2);
    assert.deepEqual(bench.sandbox.csrs(), []);
    assert.deepEqual(bench.all('identity-refused'), []);
  });

  it('requests no serving certificate with the token', async () => {
    await using bench = await Bench.create();
    await withRefusedPair(bench);
    await using enroller = enrollerWith(bench);
    enroller.handle({ type: 'enroll', name: servingSpec.name, id: 1, template: servingTemplate });
    const { failure } = await bench.first('failed');
    assert.deepEqual(
      [failure.code, failure.message],
      [
        'API_UNAUTHORIZED',
        'cannot request kubelet-server: this node has no client certificate that the API server accepts',
      ],
    );
    assert.equal(bench.all('identity-refused').length, 1);
    assert.deepEqual(bench.sandbox.csrs(), []);
  });

  it('joins again with a bootstrap kubeconfig that has the new CA', async () => {
    await using bench = await Bench.create();
    await withRefusedPair(bench);
    await loseTrust(bench);
    await using enroller = enrollerWith(bench);
    enroller.handle({ type: 'look-up-addresses', id: 9, follow: false });
    await bench.first('addresses-failed');
    assert.equal(bench.all('identity-refused').length, 1);
    enroller.handle(enroll);
    await bench.first('stored');
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    const { customCaPem, caPem } = bench.sandbox;
    assert.ok(text.includes(base64(customCaPem + caPem)), text);
    assert.equal(bench.sandbox.csrs().length, 1);
  });
});
