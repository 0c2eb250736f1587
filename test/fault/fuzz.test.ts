import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import type { FaultRow } from './family.ts';
import { fuzz } from './fuzz.ts';
import { isBad, targets as badTargets } from './fuzz/bad-targets.ts';
import { campaign } from './fuzz/campaign.ts';
import type { Corpus } from './fuzz/corpus.ts';
import { makeCorpus } from './fuzz/corpus.ts';
import { csrChanges, csrInput, csrObjectTarget } from './fuzz/csr-object-target.ts';
import { derMutators } from './fuzz/der.ts';
import { judge } from './fuzz/judge.ts';
import { slope } from './fuzz/memory-watch.ts';
import { mutated } from './fuzz/mutate.ts';
import { Random, seedOf } from './fuzz/random.ts';
import { secretsOf } from './fuzz/secrets.ts';
import { targets } from './fuzz/targets.ts';

const { signal } = new AbortController();
let corpus: Corpus;
before(async () => {
  corpus = await makeCorpus();
});

describe('the fuzz family', () => {
  it('keeps every promise in thousands of inputs', async (context) => {
    const rows: FaultRow[] = [];
    const progress = context.diagnostic.bind(context);
    for await (const row of fuzz.run({ thorough: false, signal, progress })) rows.push(row);
    assert.equal(rows.length, targets.length);
    assert.ok(rows.reduce((sum, { tried }) => sum + tried, 0) > 5_000);
    for (const { fault, seen } of rows) {
      // A single kind of result would mean that no input gets past the first check.
      assert.ok(seen.length >= 2, `${fault}: ${seen.join(', ')}`);
    }
  });

  it('has a million inputs in its long form', () => {
    assert.ok(targets.reduce((sum, { inputs }) => sum + inputs, 0) >= 1_000_000);
  });
});

describe('campaign()', () => {
  const messages: Readonly<Record<string, RegExp>> = {
    'throws another error than AgentError': /not an AgentError: TypeError/,
    'throws INTERNAL': /code INTERNAL/,
    'never returns': /no end within 2 s/,
    'never settles': /no end within 2 s/,
    'leaves a rejection': /unhandled rejection: Error: no handler/,
    'needs all memory': /the process ended with SIG|heap/,
    'ends the process': /the process ended with SIGABRT/,
    'shows the token': /of a secret/,
    'colors the terminal': /that a terminal acts on/,
    'talks without end': /characters long/,
  };
  for (const [name, message] of Object.entries(messages)) {
    it(`names the input when a target ${name}`, async () => {
      const target = badTargets.find((target) => target.name === name);
      assert.ok(target);
      const limits = name.startsWith('never') ? { hangMs: 2_000 } : { heapMiB: 48 };
      const order = { target, corpus, seed: 7, count: 100, signal, limits };
      const error = await campaign(order).then(
        () => assert.fail('nothing was noticed'),
        (reason: Error) => reason,
      );
      assert.match(error.message, message);
      assert.match(error.message, /seed 7/);
      const [, input = ''] = /repeat\.ts .* (\S+)$/m.exec(error.message) ?? [];
      assert.ok(isBad(Buffer.from(input, 'base64').toString()), error.message);
    });
  }

  it('notices that the live heap grows', async () => {
    const target = badTargets.find((target) => target.name === 'keeps everything');
    assert.ok(target);
    await assert.rejects(
      campaign({ target, corpus, seed: 1, count: 480, signal, limits: { growthMiB: 2 } }),
      /the live heap grew by \d/,
    );
  });
});

describe('the target CSR object', () => {
  it('approves the CSR without changes, and judges each change alone', async () => {
    const subject = await csrObjectTarget.open({ corpus, directory: '' });
    const input = csrInput(corpus);
    assert.equal(await subject.feed(input([], new Random(1))), 'ServingPolicyPassed');
    for (const change of csrChanges(corpus).flat()) {
      for (let index = 0; index < 5; index += 1)
        await subject.feed(input([change], new Random(1, index)));
    }
  });

  it('complains about a verdict that no change explains', async () => {
    const subject = await csrObjectTarget.open({ corpus, directory: '' });
    const [change] = csrChanges(corpus)[3] ?? [];
    assert.ok(change);
    const wrong = { ...change, verdicts: ['WeakKey'] as const };
    const fed = async () => subject.feed(csrInput(corpus)([wrong], new Random(1)));
    await assert.rejects(fed, /ServingPolicyPassed after PEM: another width/);
  });
});

describe('judge()', () => {
  it('accepts an error with a code, and finds parts of a key in its texts', () => {
    const secrets = secretsOf(corpus);
    const [key] = corpus.keys;
    assert.ok(key);
    const piece = Buffer.from(key.der).toString('base64').slice(60, 90);
    const plain = new AgentError('PAIR_MALFORMED', 'x is damaged', { cause: new Error('why') });
    assert.deepEqual(judge(plain, secrets), { code: 'PAIR_MALFORMED' });
    for (const error of [
      new AgentError('PAIR_MALFORMED', `found ${piece}`),
      new AgentError('PAIR_MALFORMED', 'found', { cause: new Error(piece) }),
      new AgentError('PAIR_MALFORMED', 'found', { remedy: piece }),
    ]) {
      assert.match(JSON.stringify(judge(error, secrets)), /of a secret/);
    }
  });
});

describe('Random', () => {
  it('repeats for the same seed and number, and differs otherwise', () => {
    assert.equal(draws(1, 2), draws(1, 2));
    const all = [draws(1, 2), draws(1, 3), draws(2, 2), draws(2, 3)];
    assert.equal(new Set(all).size, all.length);
    assert.notEqual(seedOf(Uint8Array.of(1)), seedOf(Uint8Array.of(2)));
  });

  it('draws evenly', () => {
    const random = new Random(3);
    const counts = [0, 0, 0, 0, 0];
    for (let left = 10_000; left > 0; left -= 1) {
      const draw = random.below(5);
      counts[draw] = (counts[draw] ?? 0) + 1;
    }
    assert.ok(
      counts.every((count) => Math.abs(count - 2_000) < 200),
      counts.join(),
    );
  });
});

function draws(seed: number, index: number): string {
  const random = new Random(seed, index);
  return [random.below(1_000), random.below(1_000), random.bytes(4).toString()].join();
}

describe('mutated()', () => {
  it('repeats for the same seed, keeps its inputs, and usually damages', () => {
    const seeds = corpus.certificates.map((der) => Buffer.from(der));
    const before = seeds.map((seed) => seed.toString('hex'));
    const source = { seeds, own: derMutators };
    let valid = 0;
    for (let index = 0; index < 500; index += 1) {
      const input = mutated(source, new Random(5, index));
      assert.deepEqual(input, mutated(source, new Random(5, index)));
      if (isCertificate(input)) valid += 1;
    }
    assert.deepEqual(
      seeds.map((seed) => seed.toString('hex')),
      before,
    );
    // Some results pass the parser and are checked further. Most do not.
    assert.ok(valid > 50 && valid < 450, `${valid} of 500 are certificates`);
  });
});

function isCertificate(der: Uint8Array): boolean {
  try {
    return new X509Certificate(der).raw.length > 0;
  } catch {
    return false;
  }
}

describe('slope()', () => {
  it('is the growth per sample', () => {
    assert.equal(slope([5, 5, 5]), 0);
    assert.equal(slope([1, 3, 5, 7]), 2);
    assert.equal(slope([7]), 0);
  });
});
