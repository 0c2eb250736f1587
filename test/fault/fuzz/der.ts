import type { Mutator } from './mutate.ts';
import type { Random } from './random.ts';

/** A DER value: a tag with bytes or with inner values. */
interface Node {
  tag: number;
  content: Uint8Array | Node[];
}

/** Mutators of DER. Some keep the lengths correct and so pass the first check, others do not. */
export const derMutators: readonly Mutator[] = [
  throughTree((nodes, random) => {
    random.pick(nodes).tag = random.pick(tags);
  }),
  throughTree((nodes, random) => {
    random.pick(nodes).content = random.pick(contents(random));
  }),
  throughTree((nodes, random) => {
    const { content } = random.pick(nodes);
    if (Array.isArray(content)) content.splice(random.below(content.length + 1), 1);
  }),
  throughTree((nodes, random) => {
    const { content } = random.pick(nodes);
    if (Array.isArray(content) && content.length > 0) content.push(random.pick(content));
  }),
  throughTree((nodes, random, others) => {
    const node = random.pick(nodes);
    ({ tag: node.tag, content: node.content } = random.pick(others));
  }),
  throughTree((nodes, random) => {
    const node = random.pick(nodes);
    node.content = nested(
      node,
      random.pick([1, 2, 20, 200, 2_000]),
      random.pick([0x30, 0x31, 0xa0]),
    );
  }),
  corruptLength,
];

const tags = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1c, 0x1e,
  0x1f, 0x24, 0x30, 0x31, 0x80, 0x82, 0x86, 0x87, 0xa0, 0xa3, 0xbf, 0xff,
];

function contents(random: Random): readonly Uint8Array[] {
  return [
    '',
    '0',
    '991231235959Z',
    '99991231235959Z',
    '00000000000000Z',
    '261332250000Z',
    'Z',
    '20260101000000+2500',
    '-1',
    '\0',
    'a\0b',
    '*.',
    '\u{202e}abc',
    'é',
    '\\,=+<>#;"\n',
  ]
    .map((text) => Buffer.from(text))
    .concat(
      [random.bytes(1 + random.below(20)), random.bytes(16), random.bytes(4)].map((bytes) =>
        Buffer.from(bytes),
      ),
    )
    .concat(Buffer.alloc(3_000, 0x7f), Buffer.alloc(300, 0xff), Buffer.alloc(9, 0x80));
}

function throughTree(damage: (nodes: Node[], random: Random, others: Node[]) => void): Mutator {
  return (input, random, other) => {
    const roots = parse(input, 0);
    const nodes = all(roots);
    const others = all(parse(other, 0));
    if (nodes.length === 0 || others.length === 0) return input;
    damage(nodes, random, others);
    return encodeAll(roots);
  };
}

/** Wrong lengths: too short, too long, more than 32 bits, indefinite. */
function corruptLength(input: Uint8Array, random: Random): Uint8Array {
  const output = Buffer.from(input);
  const headers = headersOf(input);
  const at = headers.length === 0 ? 0 : random.pick(headers);
  const lengths = [
    [random.below(256)],
    [(output[at] ?? 0) + random.pick([-1, 1])],
    [0x80],
    [0x81, random.below(256)],
    [0x82, random.below(256), random.below(256)],
    [0x84, 0xff, 0xff, 0xff, 0xff],
    [0x84, 0x7f, 0xff, 0xff, 0xff],
    [0x88, ...random.bytes(8)],
    [0xfe],
    [0xff],
  ];
  const drop = random.chance(0.5) ? 1 : 0;
  return Buffer.concat([
    output.subarray(0, at),
    Uint8Array.from(random.pick(lengths)),
    output.subarray(at + drop),
  ]);
}

function nested(node: Node, depth: number, tag: number): Node[] {
  let inner: Node = { tag: node.tag, content: node.content };
  for (let level = 0; level < depth; level += 1) inner = { tag, content: [inner] };
  return [inner];
}

function all(nodes: readonly Node[]): Node[] {
  return nodes.flatMap((node) => [node, ...(Array.isArray(node.content) ? all(node.content) : [])]);
}

function parse(bytes: Uint8Array, depth: number): Node[] {
  const nodes: Node[] = [];
  for (let at = 0; at < bytes.length;) {
    const header = headerAt(bytes, at);
    if (header === undefined)
      return [...nodes, { tag: bytes[at] ?? 0, content: bytes.subarray(at + 1) }];
    const inside = bytes.subarray(header.start, header.end);
    const constructed = (header.tag & 0x20) !== 0 && depth < 32;
    nodes.push({ tag: header.tag, content: constructed ? parse(inside, depth + 1) : inside });
    at = header.end;
  }
  return nodes;
}

function headersOf(bytes: Uint8Array, offset = 0): number[] {
  const found: number[] = [];
  for (let at = offset; at < bytes.length;) {
    const header = headerAt(bytes, at);
    if (header === undefined) return found;
    found.push(at + 1);
    at = (header.tag & 0x20) === 0 ? header.end : header.start;
  }
  return found;
}

function headerAt(
  bytes: Uint8Array,
  at: number,
): { readonly tag: number; readonly start: number; readonly end: number } | undefined {
  const [tag, first] = bytes.subarray(at, at + 2);
  if (tag === undefined || first === undefined) return undefined;
  const count = first < 0x80 ? 0 : first & 0x7f;
  if (count > 4 || first === 0x80) return undefined;
  const start = at + 2 + count;
  const length =
    count === 0 ? first : bytes.subarray(at + 2, start).reduce((sum, byte) => sum * 256 + byte, 0);
  return start + length > bytes.length ? undefined : { tag, start, end: start + length };
}

function encodeAll(nodes: readonly Node[]): Buffer {
  return Buffer.concat(nodes.map(encode));
}

/**
 * Works from the inside out in a loop, because recursion would overflow the stack at
 * two thousand levels.
 */
function encode(node: Node): Buffer {
  const tags: number[] = [];
  let inner = node;
  for (; Array.isArray(inner.content) && inner.content[0]; inner = inner.content[0]) {
    if (inner.content.length > 1) break;
    tags.push(inner.tag);
  }
  const body = Array.isArray(inner.content) ? encodeAll(inner.content) : inner.content;
  const heads: Uint8Array[] = [];
  let length = body.length;
  for (const tag of [inner.tag, ...tags.toReversed()]) {
    const head = Uint8Array.from([tag, ...lengthOf(length)]);
    heads.unshift(head);
    length += head.length;
  }
  return Buffer.concat([...heads, body]);
}

function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left % 256);
  return [0x80 | bytes.length, ...bytes];
}
