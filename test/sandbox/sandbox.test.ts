import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { AgentError } from '../../src/core/errors.ts';
import { startSandbox } from './sandbox.ts';
import { openssl } from '../core/openssl.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { csrBody, csrsPath, makeRequest, nodeCredential, run, token } from './fixtures.ts';

describe('startSandbox()', { timeout: 30_000 }, () => {
  it('issues certificates that openssl verifies against its CA', async () => {
    await using running = await run();
    const { certificatePem = '' } = await nodeCredential(running.bootstrapper, 'worker-1');
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-sandbox-'));
    try {
      const [ca, leaf] = [join(directory, 'ca.crt'), join(directory, 'leaf.crt')];
      await writeFile(ca, running.sandbox.caPem);
      await writeFile(leaf, certificatePem);
      const strict = ['verify', '-x509_strict', '-CAfile', ca, '-purpose'];
      assert.equal(openssl([...strict, 'sslclient', leaf]), `${leaf}: OK\n`);
      assert.throws(
        () => openssl([...strict, 'sslserver', leaf]),
        /unsuitable certificate purpose/,
      );
      const extensions = openssl(['x509', '-in', leaf, '-noout', '-text']);
      assert.match(extensions, /Key Usage: critical\n\s+Digital Signature\n/);
      assert.match(extensions, /Basic Constraints: critical\n\s+CA:FALSE\n/);
      assert.match(extensions, /Authority Key Identifier/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('writes a bootstrap kubeconfig with the token and the CA', async () => {
    await using running = await run();
    const { server, caPem } = running.sandbox;
    const config = parse(running.sandbox.bootstrapKubeconfig()) as Record<string, unknown>;
    const data = Buffer.from(caPem).toString('base64');
    assert.deepEqual(config['clusters'], [
      { name: 'sandbox', cluster: { server, 'certificate-authority-data': data } },
    ]);
    assert.deepEqual(config['users'], [{ name: 'kubelet-bootstrap', user: { token } }]);
    assert.equal(config['current-context'], 'kubelet-bootstrap@sandbox');
  });

  it('generates a different, well-formed token each time', async () => {
    const clock = new FakeClock(Date.now());
    await using first = await startSandbox({ clock });
    await using second = await startSandbox({ clock });
    const tokens = [first, second].map((sandbox) => {
      const found = /token: (\S+)/.exec(sandbox.bootstrapKubeconfig())?.[1] ?? '';
      assert.match(found, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
      return found;
    });
    assert.notEqual(tokens[0], tokens[1]);
  });

  it('rejects invalid options, without printing a token', async () => {
    const clock = new FakeClock();
    for (const options of [
      { bootstrapToken: 'SECRET.token' },
      { signingSeconds: 0 },
      { signingSeconds: Number.NaN },
      { caSeconds: -1 },
    ]) {
      await assert.rejects(startSandbox({ clock, ...options }), (error) => {
        assert.ok(error instanceof AgentError);
        assert.equal(error.code, 'USAGE');
        assert.ok(!error.message.includes('SECRET'));
        return true;
      });
    }
  });

  it('names the port that is in use', async () => {
    await using running = await run();
    const port = Number(new URL(running.sandbox.server).port);
    await assert.rejects(startSandbox({ clock: running.clock, port }), (error) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, 'API_UNREACHABLE');
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}$`));
      return true;
    });
  });

  it('releases its port and takes it again with all its objects', async () => {
    await using running = await run({ approving: false });
    const { sandbox, bootstrapper } = running;
    const { pem } = await makeRequest();
    const body = csrBody('survivor', pem);
    await bootstrapper.must({ method: 'POST', path: csrsPath, body });
    const asked = { method: 'GET', path: `${csrsPath}/survivor` } as const;
    await sandbox.stopListening();
    await sandbox.stopListening();
    await assert.rejects(bootstrapper.request(asked), { code: 'ECONNREFUSED' });
    await sandbox.startListening();
    await sandbox.startListening();
    assert.equal((await bootstrapper.request(asked)).status, 200);
  });

  it('decides once, and throws for a missing CSR', async () => {
    await using running = await run({ approving: false, signing: false });
    const { sandbox, bootstrapper } = running;
    const { pem } = await makeRequest();
    await bootstrapper.must({ method: 'POST', path: csrsPath, body: csrBody('one', pem) });
    sandbox.approve('one');
    const before = sandbox.csrs();
    sandbox.approve('one');
    assert.deepEqual(sandbox.csrs(), before);
    assert.throws(() => sandbox.deny('one', 'TooLate'), /mutually exclusive/);
    for (const operation of ['approve', 'deny', 'fail', 'deleteCsr'] as const) {
      assert.throws(
        () => sandbox[operation]('missing', 'reason'),
        (error) => error instanceof AgentError && error.code === 'API_NOT_FOUND',
      );
    }
  });
});
