import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { flagNamed, flagValue, flaggedPath, parseKubeletFlags } from '../../src/kubelet/flags.ts';

function parsed(...words: readonly string[]): (readonly [string, string])[] {
  return parseKubeletFlags(words).map(({ name, value }) => [name, value]);
}

describe('parseKubeletFlags()', () => {
  it('reads a value after = or in the next word', () => {
    assert.deepEqual(parsed('--config=/c', '--kubeconfig', '/k', '--cert-dir='), [
      ['config', '/c'],
      ['kubeconfig', '/k'],
      ['cert-dir', ''],
    ]);
  });

  it('reads _ as -, and a switch without a value as true', () => {
    assert.deepEqual(parsed('--rotate_certificates', 'false', '--rotate-server-certificates=0'), [
      ['rotate-certificates', 'true'],
      ['rotate-server-certificates', '0'],
    ]);
  });

  it('skips other flags, single dashes and everything after --', () => {
    const words = ['--v=2', '-config=/x', '--config-dirs=/y', 'stray', '--', '--config=/z'];
    assert.deepEqual(parsed(...words), []);
  });

  it('keeps their order, so that flagNamed() finds the last one', () => {
    const words = ['--config=/a', '--config=/b'];
    assert.equal(flagNamed(parseKubeletFlags(words), 'config')?.value, '/b');
    assert.equal(flagNamed([], 'config'), undefined);
  });
});

describe('flagValue()', () => {
  for (const [text, expected] of [
    ['true', true],
    ['T', true],
    ['1', true],
    ['False', false],
    ['0', false],
    ['yes', undefined],
    ['', undefined],
  ] as const) {
    it(`reads the switch ${JSON.stringify(text)} as ${expected}`, () => {
      assert.equal(flagValue({ name: 'rotate-certificates', value: text }), expected);
    });
  }

  it('normalizes a path', () => {
    assert.equal(flagValue({ name: 'tls-cert-file', value: '/a/../b.pem' }), '/b.pem');
  });
});

describe('flaggedPath()', () => {
  for (const [text, expected] of [
    ['--config=/a/../b.yaml', '/b.yaml'],
    ['--config=b.yaml', '/run/b.yaml'],
    ['--config=', undefined],
    ['--v=2', undefined],
    // The slash at the end decides whether the kubelet follows a link.
    ['--config=/etc/d/', '/etc/d/'],
  ] as const) {
    it(`resolves ${text} to ${expected ?? 'no path'}`, () => {
      const start = { flags: parseKubeletFlags([text]), workingDirectory: '/run' };
      assert.equal(flaggedPath(start, 'config'), expected);
    });
  }
});
