import type { Mutator } from './mutate.ts';
import type { Random } from './random.ts';

/** Mutators that keep a text valid JSON, so that the schema must reject it. */
export const jsonMutators: readonly Mutator[] = [
  onTree(replaceSomething),
  onTree(replaceSomething),
  onTree(addOddKey),
  onTree(dropSomething),
  onTree((root, random) => {
    const { holder, key } = random.pick(placesIn(root));
    const at = random.pick(placesIn(root));
    // Copies the value, because a cycle cannot be written as JSON.
    at.holder[at.key] = JSON.parse(JSON.stringify(holder[key])) as unknown;
  }),
  doubleKey,
];

/** TypeScript does not have JSON.rawJSON yet, which writes numbers that no double can represent. */
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

type Holder = Record<string | number, unknown>;

interface Place {
  readonly holder: Holder;
  readonly key: string | number;
}

function onTree(damage: (root: Holder, random: Random) => void): Mutator {
  return (input, random) => {
    try {
      const root = { '': JSON.parse(Buffer.from(input).toString('utf8')) as unknown };
      damage(root, random);
      return Buffer.from(JSON.stringify(root['']) ?? '');
    } catch {
      // Another mutator has damaged the text already.
      return input;
    }
  };
}

function replaceSomething(root: Holder, random: Random): void {
  const { holder, key } = random.pick(placesIn(root));
  holder[key] = random.pick(oddValues)(random);
}

function dropSomething(root: Holder, random: Random): void {
  const { holder, key } = random.pick(placesIn(root));
  if (Array.isArray(holder)) holder.splice(Number(key), 1);
  else delete holder[key];
}

function addOddKey(root: Holder, random: Random): void {
  const { holder, key } = random.pick(placesIn(root));
  const value = holder[key];
  if (typeof value !== 'object' || value === null) return;
  // Defines the key instead of assigning it, as JSON.parse does.
  Object.defineProperty(value, random.pick(oddKeys), {
    value: random.pick(oddValues)(random),
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

/** JSON text can repeat a key, but an object cannot. */
function doubleKey(input: Uint8Array, random: Random): Uint8Array {
  const text = Buffer.from(input).toString('utf8');
  const keys = [...text.matchAll(/"[\w-]{1,32}":/g)];
  if (keys.length === 0) return input;
  const { 0: key, index } = random.pick(keys);
  const value = JSON.stringify(random.pick(oddValues)(random));
  return Buffer.from(`${text.slice(0, index)}${key}${value},${text.slice(index)}`);
}

function placesIn(root: Holder): Place[] {
  const places: Place[] = [];
  const queue: Holder[] = [root];
  for (const holder of queue) {
    for (const [name, value] of Object.entries(holder)) {
      places.push({ holder, key: Array.isArray(holder) ? Number(name) : name });
      if (typeof value === 'object' && value !== null && queue.length < 500) {
        queue.push(value as Holder);
      }
    }
  }
  return places;
}

const oddKeys = ['__proto__', 'constructor', 'prototype', 'toString', 'then', '', '\0', '0', 'a b'];

export const oddTexts: readonly string[] = [
  '',
  ' ',
  '\0',
  'null',
  'true',
  '0',
  '-1',
  'NaN',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  '\ud800',
  '\u{1f4a9}',
  '\u202eabc',
  'é'.repeat(300),
  '\u001b[31mred',
  'a\nb',
  '\u2028',
  '%00%zz',
  '../../etc/passwd',
  '/dev/stdin',
  'https://[::1',
  'http://user:pass@host',
  'x'.repeat(5_000),
  '2026-02-30T99:00:00Z',
  '+275760-09-13T00:00:00.001Z',
  '9'.repeat(400),
  'AAAA====',
  '====',
  'LS0t',
];

const oddValues: readonly ((random: Random) => unknown)[] = [
  () => null,
  () => true,
  () => false,
  (random) => random.pick([0, -1, 1, 1.5, 2 ** 31, 2 ** 53, 1e21, 1e308, 5e-324, 410, 429, 600]),
  (random) => rawJSON(random.pick(['1e999', '-1e999', '-0', '9'.repeat(400), '1E+2', '0.1e-9'])),
  (random) => random.pick(oddTexts),
  (random) => random.pick(oddTexts),
  (random) => random.integer(),
  () => [],
  () => ({}),
  () => [[], {}, null],
  (random) => rawJSON('"'.concat('\\u0041'.repeat(random.below(2_000)), '"')),
  (random) => deep(random.pick([3, 50, 2_000])),
  (random) => Array.from({ length: random.below(2_000) }, (_, index) => index),
  () => JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
];

function deep(levels: number): unknown {
  let value: unknown = 'deep';
  for (let level = 0; level < levels; level += 1) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
