import type { Random } from './random.ts';

/** Damages an input. `other` is a second valid input, to take pieces from. */
export type Mutator = (input: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

/** The maximum size. The tests of the limits use larger inputs. */
const longest = 64 * 1024;

export interface MutationSource {
  /** Valid inputs. */
  readonly seeds: readonly Uint8Array[];
  /** Keywords of the parser. */
  readonly words?: readonly string[];
  /** Mutators for the format, which are chosen as often as all others together. */
  readonly own?: readonly Mutator[];
}

/** Returns a valid input with a few changes, and sometimes with none. */
export function mutated(source: MutationSource, random: Random): Uint8Array {
  let input = random.pick(source.seeds);
  for (let left = random.below(5); left > 0; left -= 1) {
    const other = random.pick(source.seeds);
    input = mutatorFrom(source, random)(input, random, other).subarray(0, longest);
  }
  return input;
}

function mutatorFrom({ own = [], words = [] }: MutationSource, random: Random): Mutator {
  if (own.length > 0 && random.chance(0.5)) return random.pick(own);
  if (words.length > 0 && random.chance(0.25)) return insertWord(words);
  return random.pick(byteMutators);
}

const notable = [0, 1, 9, 10, 13, 32, 34, 35, 38, 39, 42, 45, 58, 61, 91, 93, 123, 125, 127, 128];

export const byteMutators: readonly Mutator[] = [
  flipBit,
  setByte,
  truncate,
  dropRange,
  repeatRange,
  splice,
  insertNoise,
  swapRanges,
  withCarriageReturns,
  withByteOrderMark,
];

function flipBit(input: Uint8Array, random: Random): Uint8Array {
  const output = Uint8Array.from(input);
  const at = random.below(output.length);
  if (at < output.length) output[at] = (output[at] ?? 0) ^ (1 << random.below(8));
  return output;
}

function setByte(input: Uint8Array, random: Random): Uint8Array {
  const output = Uint8Array.from(input);
  const at = random.below(output.length);
  if (at < output.length)
    output[at] = random.chance(0.5) ? random.pick(notable) : random.below(256);
  return output;
}

function truncate(input: Uint8Array, random: Random): Uint8Array {
  return input.subarray(0, random.below(input.length + 1));
}

function dropRange(input: Uint8Array, random: Random): Uint8Array {
  const [from, to] = range(input, random);
  return joined(input.subarray(0, from), input.subarray(to));
}

/** Usually once, and sometimes thousands of times to make it deep or long. */
function repeatRange(input: Uint8Array, random: Random): Uint8Array {
  const [from, to] = range(input, random);
  const piece = input.subarray(from, to);
  const most = Math.max(1, Math.floor(longest / Math.max(piece.length, 1)));
  const times = random.chance(0.9) ? 1 : random.below(Math.min(most, 5_000));
  const repeated = Array.from({ length: times }, () => piece);
  return joined(input.subarray(0, to), ...repeated, input.subarray(to));
}

function splice(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  const [from, to] = range(other, random);
  const at = random.below(input.length + 1);
  const rest = random.chance(0.5) ? at : Math.min(input.length, at + to - from);
  return joined(input.subarray(0, at), other.subarray(from, to), input.subarray(rest));
}

function insertNoise(input: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length + 1);
  const noise = random.chance(0.5)
    ? random.bytes(1 + random.below(16))
    : Uint8Array.of(random.pick(notable));
  return joined(input.subarray(0, at), noise, input.subarray(at));
}

function swapRanges(input: Uint8Array, random: Random): Uint8Array {
  const [from, middle] = range(input, random);
  const to = middle + random.below(input.length - middle + 1);
  return joined(
    input.subarray(0, from),
    input.subarray(middle, to),
    input.subarray(from, middle),
    input.subarray(to),
  );
}

function withCarriageReturns(input: Uint8Array): Uint8Array {
  const output: number[] = [];
  for (const byte of input) output.push(...(byte === 0x0a ? [0x0d, 0x0a] : [byte]));
  return Uint8Array.from(output);
}

function withByteOrderMark(input: Uint8Array, random: Random): Uint8Array {
  const marks = [Uint8Array.of(0xef, 0xbb, 0xbf), Uint8Array.of(0xff, 0xfe), Uint8Array.of(0)];
  return joined(random.pick(marks), input);
}

function insertWord(words: readonly string[]): Mutator {
  return (input, random) => {
    const at = random.below(input.length + 1);
    const word = Buffer.from(random.pick(words));
    const rest = random.chance(0.7) ? at : Math.min(input.length, at + word.length);
    return joined(input.subarray(0, at), word, input.subarray(rest));
  };
}

/** Usually short, because a small change gets further into a parser. */
function range(input: Uint8Array, random: Random): readonly [number, number] {
  const from = random.below(input.length + 1);
  const left = input.length - from;
  return [from, from + random.below((random.chance(0.7) ? Math.min(left, 32) : left) + 1)];
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
