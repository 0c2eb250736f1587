import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { flagNamed, parseKubeletFlags, switchValue } from '../../src/kubelet/flags.ts';

function parsed(...texts: readonly string[]): (readonly [string, string, number])[] {
  const words = texts.map((text) => ({ text, origin: { kind: 'process', pid: 1 } as const }));
  return parseKubeletFlags(words).map(({ name, value, words }) => [name, value, words.length]);
}

describe('parseKubeletFlags()', () => {
  it('parseKubeletFlags() takes a value behind = or as the next word', () => {
    assert.deepEqual(parsed('--config=/c', '--kubeconfig', '/k', '--cert-dir='), [
      ['config', '/c', 1],
      ['kubeconfig', '/k', 2],
      ['cert-dir', '', 1],
    ]);
  });

  it('parseKubeletFlags() takes _ for -, and a switch without a value for true', () => {
    assert.deepEqual(parsed('--rotate_certificates', 'false', '--rotate-server-certificates=0'), [
      ['rotate-certificates', 'true', 1],
      ['rotate-server-certificates', '0', 1],
    ]);
  });

  it('parseKubeletFlags() passes over other flags, single dashes and all behind --', () => {
    const words = ['--v=2', '-config=/x', '--config-dirs=/y', 'stray', '--', '--config=/z'];
    assert.deepEqual(parsed(...words), []);
  });

  it('flagNamed() finds the last one, which counts', () => {
    const words = ['--config=/a', '--config=/b'].map((text) => ({
      text,
      origin: { kind: 'process', pid: 1 } as const,
    }));
    assert.equal(flagNamed(parseKubeletFlags(words), 'config')?.value, '/b');
    assert.equal(flagNamed([], 'config'), undefined);
  });
});

describe('switchValue()', () => {
  for (const [text, expected] of [
    ['true', true],
    ['T', true],
    ['1', true],
    ['False', false],
    ['0', false],
    ['yes', undefined],
    ['', undefined],
  ] as const) {
    it(`switchValue() takes ${JSON.stringify(text)} for ${expected}`, () => {
      assert.equal(switchValue(text), expected);
    });
  }
});
