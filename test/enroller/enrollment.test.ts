import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import type { Secret } from '../../src/core/secret.ts';
import { Enrollment } from '../../src/enroller/enrollment.ts';
import type { PairSink, StoredPair } from '../../src/enroller/enrollment.ts';
import type { ApiAccess } from '../../src/enroller/api-access.ts';
import type { PrivateKey } from '../../src/enroller/private-key.ts';
import { PairStore } from '../../src/store/pair-store.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { Bench } from './fixtures.ts';

/** One enrollment with steps that a test can make fail. */
class Trial implements AsyncDisposable {
  readonly bench: Bench;
  readonly access: ApiAccess;
  readonly stop = new AbortController();
  readonly enrollment: Enrollment;
  /** The secrets that the store received; the enrollment wipes them. */
  readonly written: Secret[] = [];
  readonly keys: PrivateKey[] = [];
  onWrite: () => void = () => undefined;
  onStored: () => Promise<void> = async () => undefined;
  onTrust: () => Promise<void> = async () => undefined;

  constructor(bench: Bench) {
    this.bench = bench;
    this.access = bench.access();
    const { config, report } = bench;
    const { certificateDirectory: directory, store } = config;
    const name = 'kubelet-client';
    const pairs = new PairStore({ directory, name, clock: systemClock, config: store });
    const sink: PairSink = {
      write: async (pem): Promise<StoredPair> => {
        this.written.push(pem);
        this.onWrite();
        return pairs.write(pem);
      },
    };
    this.enrollment = new Enrollment({
      name,
      template: clientTemplate,
      access: this.access,
      store: sink,
      onStored: () => this.onStored(),
      clock: systemClock,
      random: Math.random,
      report: (step) => report({ ...step, id: 1 }),
      verifyTrust: async (_, key) => {
        this.keys.push(key);
        await this.onTrust();
      },
    });
  }

  run(): Promise<StoredPair> {
    return this.enrollment.run(this.stop.signal);
  }

  get csrs(): string[] {
    return this.bench.sandbox.csrs().map(({ metadata }) => metadata.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.access[Symbol.asyncDispose]();
  }
}

/** Keys that are not disposed of yet. */
function isGone(key: PrivateKey | undefined): boolean {
  assert.ok(key !== undefined);
  try {
    return key.pair === undefined;
  } catch {
    return true;
  }
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

describe('Enrollment', () => {
  it('obtains and stores a pair, and disposes of the key afterwards', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    trial.onStored = async () => {
      assert.ok(isGone(trial.keys[0]), 'the key outlived the swap');
    };
    const { pair } = await trial.run();
    assert.equal(pair.subject.commonName, 'system:node:worker-1');
    assert.deepEqual(
      bench.reports.map(({ type }) => type).filter((type) => /^(req|app|iss)/.test(type)),
      ['requested', 'approved', 'issued'],
    );
    assert.equal(trial.written.length, 1);
    assert.ok(isZero(trial.written[0]?.expose() ?? Buffer.from('none')));
    assert.match(trial.csrs[0] ?? '', /^node-csr-[\w-]{43}$/);
  });

  it('continues with one key and one CSR after an outage', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    await bench.sandbox.stopListening();
    await assert.rejects(trial.run(), { code: 'API_UNREACHABLE' });
    assert.equal(trial.enrollment.resumable, true);
    await assert.rejects(trial.run(), { code: 'API_UNREACHABLE' });
    await bench.sandbox.startListening();
    await trial.run();
    assert.equal(trial.csrs.length, 1);
  });

  it('finds its CSR when the response to the POST was lost', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    loseAnswer(trial.access);
    await assert.rejects(trial.run(), { code: 'API_UNREACHABLE' });
    assert.equal(trial.csrs.length, 1);
    assert.deepEqual(bench.all('requested'), []);
    await trial.run();
    assert.equal(trial.csrs.length, 1);
    assert.equal(bench.all('requested').length, 1);
  });

  it('keeps the key of a CSR that may exist after a rejection', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    loseAnswer(trial.access);
    await assert.rejects(trial.run(), { code: 'API_UNREACHABLE' });
    const text = bench.sandbox.bootstrapKubeconfig();
    await bench.writeBootstrap(text.replace(/token: .*/, 'token: abcdef.0123456789abcdef'));
    await assert.rejects(trial.run(), { code: 'API_UNAUTHORIZED' });
    assert.equal(trial.enrollment.resumable, true);
    await bench.writeBootstrap(text);
    await trial.run();
    assert.equal(trial.csrs.length, 1);
  });

  for (const [verb, code] of [
    ['deny', 'CSR_DENIED'],
    ['fail', 'CSR_FAILED'],
    ['deleteCsr', 'CSR_DELETED'],
  ] as const) {
    it(`drops key and CSR after ${code}`, async () => {
      await using bench = await Bench.create({ approving: false });
      await using trial = new Trial(bench);
      const running = assert.rejects(trial.run(), (error: AgentError) => {
        assert.equal(error.code, code);
        assert.ok(error.remedy);
        if (code !== 'CSR_DELETED') assert.match(error.message, /NotToday/);
        return true;
      });
      const { csr } = await bench.first('requested');
      bench.sandbox[verb](csr.name, 'NotToday');
      await running;
      assert.equal(trial.enrollment.resumable, false);
      bench.sandbox.setApproving(true);
      await trial.run();
      assert.notEqual(bench.all('requested')[1]?.csr.name, csr.name);
    });
  }

  it('keeps an issued certificate that could not be stored', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    trial.onWrite = () => {
      throw new AgentError('STORE_FULL', 'full');
    };
    await assert.rejects(trial.run(), { code: 'STORE_FULL' });
    assert.equal(trial.enrollment.resumable, true);
    assert.ok(isZero(trial.written[0]?.expose() ?? Buffer.from('none')));
    // This step does not need the API server.
    await bench.sandbox.stopListening();
    trial.onWrite = () => undefined;
    await trial.run();
    assert.equal(trial.csrs.length, 1);
  });

  it('does not store the pair again if only a later step failed', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    trial.onStored = async () => {
      throw new AgentError('STORE_PERMISSIONS', 'kubeconfig');
    };
    await assert.rejects(trial.run(), { code: 'STORE_PERMISSIONS' });
    assert.equal(trial.enrollment.resumable, true);
    trial.onStored = async () => undefined;
    await trial.run();
    assert.equal(trial.written.length, 1);
    assert.equal(trial.csrs.length, 1);
  });

  it('drops an untrusted certificate, and stores nothing', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    trial.onTrust = async () => {
      throw new AgentError('CERT_UNTRUSTED', 'wrong CA');
    };
    await assert.rejects(trial.run(), { code: 'CERT_UNTRUSTED' });
    assert.equal(trial.enrollment.resumable, false);
    assert.deepEqual(trial.written, []);
    assert.ok(isGone(trial.keys[0]));
  });

  it('tests a certificate again after no response', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    trial.onTrust = async () => {
      throw new AgentError('API_TIMEOUT', 'slow');
    };
    await assert.rejects(trial.run(), { code: 'API_TIMEOUT' });
    assert.equal(trial.enrollment.resumable, true);
    trial.onTrust = async () => undefined;
    await trial.run();
    assert.equal(trial.csrs.length, 1);
  });

  it('wipes the key and stores nothing if aborted just before the write', async () => {
    await using bench = await Bench.create();
    await using trial = new Trial(bench);
    trial.onTrust = async () => trial.stop.abort();
    await assert.rejects(trial.run(), { code: 'ABORTED' });
    assert.deepEqual(trial.written, []);
    assert.ok(isGone(trial.keys[0]));
  });

  it('stops waiting when the signal fires', async () => {
    await using bench = await Bench.create({ approving: false });
    await using trial = new Trial(bench);
    const running = assert.rejects(trial.run(), { code: 'ABORTED' });
    await bench.first('requested');
    trial.stop.abort();
    await running;
    assert.equal(trial.csrs.length, 1);
    assert.deepEqual(trial.written, []);
  });

  it('writes no key to disk while the CSR is pending or after a denial', async () => {
    await using bench = await Bench.create({ approving: false });
    await using trial = new Trial(bench);
    const before = await readdir(bench.directory, { recursive: true });
    const running = assert.rejects(trial.run(), { code: 'CSR_DENIED' });
    const { csr } = await bench.first('requested');
    // A kubelet with rotateCertificates=false has a kubelet-client.key.tmp by now.
    assert.deepEqual(await readdir(bench.directory, { recursive: true }), before);
    bench.sandbox.deny(csr.name, 'NotToday');
    await running;
    assert.deepEqual(await readdir(bench.directory, { recursive: true }), before);
  });

  it('is not resumable before the POST', async () => {
    await using bench = await Bench.create();
    await bench.writeBootstrap('{}');
    await using trial = new Trial(bench);
    await assert.rejects(trial.run(), { code: 'KUBECONFIG_INVALID' });
    assert.equal(trial.enrollment.resumable, false);
  });

  it('is not resumable if the server rejected the POST', async () => {
    await using bench = await Bench.create();
    const text = bench.sandbox.bootstrapKubeconfig();
    await bench.writeBootstrap(text.replace(/token: .*/, 'token: abcdef.0123456789abcdef'));
    await using trial = new Trial(bench);
    await assert.rejects(trial.run(), { code: 'API_UNAUTHORIZED' });
    assert.equal(trial.enrollment.resumable, false);
  });
});

/** The network fails once after the server created an object and before the client receives the response. */
function loseAnswer(access: ApiAccess): void {
  const current = access.current.bind(access);
  access.current = () => {
    const client = current();
    const request = client.request.bind(client);
    client.request = async (...args) => {
      const answer = await request(...args);
      if (args[0].verb !== 'create') return answer;
      access.current = current;
      client.request = request;
      throw new AgentError('API_UNREACHABLE', 'the answer was lost');
    };
    return client;
  };
}
