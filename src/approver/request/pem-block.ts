/** Kubelets send less than 2 kB. */
export const maxRequestBytes = 64 * 1024;

/** The message of each rejection is a clause for the condition. */
export type PemReading =
  | { readonly kind: 'der'; readonly der: Uint8Array }
  | { readonly kind: 'rejected'; readonly message: string };

const begin = '-----BEGIN CERTIFICATE REQUEST-----\n';
const end = '\n-----END CERTIFICATE REQUEST-----';

/**
 * The only PEM block of a CSR. Stricter than Go's encoding/pem, which skips text, headers and
 * malformed blocks: the signer must not find another block than the checks.
 */
export function readRequestPem(pem: Uint8Array): PemReading {
  if (pem.length > maxRequestBytes) {
    return rejected(`the request has ${pem.length} bytes, more than ${maxRequestBytes}`);
  }
  const text = Buffer.from(pem.buffer, pem.byteOffset, pem.length).toString('latin1');
  const { before, block, after } = withoutBlanks(text);
  if (!block.startsWith(begin) || !(before === '' || before.endsWith('\n'))) {
    return rejected('the request does not begin with a CERTIFICATE REQUEST block');
  }
  if (!block.endsWith(end)) {
    return rejected('the request does not end with its CERTIFICATE REQUEST block');
  }
  if (!lineEnd.test(after)) {
    return rejected('a carriage return follows the CERTIFICATE REQUEST block');
  }
  const lines = block.slice(begin.length, -end.length).split('\n');
  if (!lines.every((line) => /^[A-Za-z0-9+/=]+$/.test(line))) {
    return rejected('the CERTIFICATE REQUEST block contains more than lines of base64');
  }
  return decoded(lines.join(''));
}

/** Go skips a block if another blank is on the line of its END, such as a second carriage return. */
const lineEnd = /^[ \t]*(?:\r?\n|$)/;

/** A loop, because a regular expression for the end of a long text takes quadratic time. */
function withoutBlanks(text: string): Record<'before' | 'block' | 'after', string> {
  let start = 0;
  while (blanks.has(text[start])) start += 1;
  let end = text.length;
  while (end > start && blanks.has(text[end - 1])) end -= 1;
  return { before: text.slice(0, start), block: text.slice(start, end), after: text.slice(end) };
}

const blanks: ReadonlySet<string | undefined> = new Set([' ', '\t', '\r', '\n']);

function decoded(base64: string): PemReading {
  try {
    const der = Uint8Array.fromBase64(base64, { lastChunkHandling: 'strict' });
    return { kind: 'der', der };
  } catch {
    return rejected('the CERTIFICATE REQUEST block is not canonical base64');
  }
}

function rejected(message: string): PemReading {
  return { kind: 'rejected', message };
}
