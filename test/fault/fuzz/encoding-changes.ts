import { contentOf, derTags, readDer } from '../../../src/core/der.ts';
import type { Change, Verdict } from './csr-change.ts';
import type { Random } from './random.ts';

const valid: readonly Verdict[] = [];
const malformed: readonly Verdict[] = ['RequestMalformed'];
const unsigned: readonly Verdict[] = [
  'RequestMalformed',
  'UnexpectedExtension',
  'SignatureInvalid',
];

/** Changes of the signed bytes, none of which is signed again. */
export const derChanges: readonly Change[] = [
  der('a bit', (bytes, random) => {
    const at = random.below(bytes.length);
    return bytes.with(at, (bytes[at] ?? 0) ^ (1 << random.below(8)));
  }),
  der('a truncated request', (bytes, random) => bytes.subarray(0, random.below(bytes.length))),
  der('data after the request', (bytes, random) =>
    Buffer.concat([bytes, random.bytes(1 + random.below(20))]),
  ),
  der('a missing byte', (bytes, random) => {
    const at = random.below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
  }),
  der('one more byte', (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), random.bytes(1), bytes.subarray(at)]);
  }),
  der('an outer length that is not minimal', (bytes) => {
    const content = contentOf(readDer(bytes)[0]);
    const { length } = content;
    const head = Uint8Array.of(derTags.sequence, 0x83, 0, length >> 8, length & 0xff);
    return Buffer.concat([head, content]);
  }),
];

function der(name: string, change: Change['der'] & object): Change {
  return { part: 'DER', name, verdicts: unsigned, der: change };
}

const begin = '-----BEGIN CERTIFICATE REQUEST-----\n';
const end = '\n-----END CERTIFICATE REQUEST-----';

/** Changes of the PEM text. */
export const pemChanges: readonly Change[] = [
  pem('another width', valid, (text, random) => rewrapped(text, 1 + random.below(200))),
  pem('one line', valid, (text) => rewrapped(text, 1e6)),
  pem('blanks before', valid, (text, random) => `${blanks(random)}\n${text}`),
  pem('blank lines after', valid, (text, random) => `${text.trimEnd()}\n${blanks(random)}`),
  pem('blanks after END', valid, (text) => `${text.trimEnd()} \t\r\n`),
  pem('no line break at the end', valid, (text) => text.trimEnd()),
  pem('64 KiB', valid, (text) => text.padEnd(65_536, '\n')),
  pem('more than 64 KiB', malformed, (text) => text.padEnd(65_537, '\n')),
  pem('a second block', malformed, (text) => text + text),
  pem('text before', malformed, (text, random) => `${letters(random)}\n${text}`),
  pem('text after', malformed, (text, random) => `${text}${letters(random)}\n`),
  pem('text before on the line of BEGIN', malformed, (text, random) => letters(random) + text),
  pem('blanks before on the line of BEGIN', malformed, (text) => ` ${text}`),
  pem('text after END', malformed, (text) => `${text.trimEnd()}x\n`),
  pem('a carriage return in the line of END', malformed, (text) => `${text.trimEnd()}\r \n`),
  pem('two carriage returns after END', malformed, (text) => `${text.trimEnd()}\r\r\n`),
  pem('a carriage return at the end', malformed, (text) => `${text.trimEnd()}\r`),
  pem('CRLF', malformed, (text) => text.replaceAll('\n', '\r\n')),
  pem('a header', malformed, (text) => text.replace(begin, `${begin}a: b\n\n`)),
  pem('a blank line', malformed, (text) => text.replace(begin, `${begin}\n`)),
  pem('a blank', malformed, (text, random) => inserted(text, random.pick([' ', '\t', '\r', '\0']))),
  pem('a padding', malformed, (text, random) => inserted(text, random.pick(['=', '==']))),
  pem('a foreign character', malformed, (text, random) =>
    inserted(text, random.pick(['-', '_', '!', 'é', ','])),
  ),
  pem('no padding', malformed, (text) => text.replace(/(?:=+)?\n-----END/, 'A\n-----END')),
  pem('another label', malformed, (text, random) =>
    text.replaceAll(
      'CERTIFICATE REQUEST',
      random.pick(['NEW CERTIFICATE REQUEST', 'CERTIFICATE', 'certificate request', '']),
    ),
  ),
  pem('another END', malformed, (text) =>
    text.replace('END CERTIFICATE REQUEST', 'END CERTIFICATE'),
  ),
  pem('an empty block', malformed, () => begin + end),
  pem('nothing', malformed, () => ''),
  pem('a byte order mark', malformed, (text) => `\u00ef\u00bb\u00bf${text}`),
];

function pem(name: string, verdicts: readonly Verdict[], change: Change['pem'] & object): Change {
  return { part: 'PEM', name, verdicts, pem: change };
}

function base64Of(text: string): string {
  return text
    .replace(begin, '')
    .replace(/\n-----END[^]*/, '')
    .replaceAll('\n', '');
}

function rewrapped(text: string, width: number): string {
  const lines = base64Of(text).match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
  return `${begin}${lines.join('\n')}${end}\n`;
}

/** Into the middle of the block, where no line begins or ends. */
function inserted(text: string, piece: string): string {
  const at = begin.length + 10;
  return text.slice(0, at) + piece + text.slice(at);
}

function blanks(random: Random): string {
  return Array.from({ length: random.below(6) }, () => random.pick([' ', '\t', '\n', '\r\n'])).join(
    '',
  );
}

function letters(random: Random): string {
  return random.pick(['x', 'hello', '0', '-----BEGIN', '-----BEGIN X-----\n-----END X-----', '=']);
}
