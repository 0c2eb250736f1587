import { AgentError } from '../../../src/core/errors.ts';
import type { FuzzTarget, Subject } from './target.ts';

/**
 * Targets that break one promise each, to test that the campaign notices it and names
 * the input.
 */
const ways: Readonly<Record<string, Subject['feed']>> = {
  'throws another error than AgentError': () => {
    throw new TypeError('undefined is not a function');
  },
  'throws INTERNAL': () => {
    throw new AgentError('INTERNAL', 'something');
  },
  'never returns': () => {
    for (;;);
  },
  'never settles': () => new Promise<string>(() => {}),
  'leaves a rejection': () => {
    void Promise.reject(new Error('no handler'));
    return 'ok';
  },
  'needs all memory': () => {
    const lists: number[][] = [];
    for (;;) lists.push(Array.from({ length: 10_000 }, (_, index) => index + 0.5));
  },
  'ends the process': () => process.abort(),
  'shows the token': (input) => {
    throw new AgentError('KUBECONFIG_INVALID', 'no such file', {
      remedy: `see ${String(Buffer.from(input))}`,
    });
  },
  'colors the terminal': () => {
    throw new AgentError('CONFIG_INVALID', 'found \u001b[31mred');
  },
  'talks without end': () => {
    throw new AgentError('CONFIG_INVALID', 'x'.repeat(40_000));
  },
};

/** Acts on one input in fifty. */
export function isBad(input: string): boolean {
  return Number.parseInt(input, 10) % 50 === 7;
}

function badTarget(name: string, feed: Subject['feed']): FuzzTarget {
  return {
    name,
    module: import.meta.url,
    fault: name,
    inputs: 1,
    generator:
      ({ token }) =>
      (random) =>
        Buffer.from(`${random.below(10_000)} ${token}`),
    open: () => ({
      feed: (input) => (isBad(String(Buffer.from(input))) ? feed(input) : 'ok'),
    }),
  };
}

const kept: unknown[] = [];

/** Leaks memory with every input. */
const leaking: FuzzTarget = {
  ...badTarget('keeps everything', () => 'ok'),
  open: () => ({
    feed: () => {
      kept.push(Array.from({ length: 5_000 }, () => Math.random()));
      return 'ok';
    },
  }),
};

export const targets: readonly FuzzTarget[] = [
  ...Object.entries(ways).map(([name, feed]) => badTarget(name, feed)),
  leaking,
];
