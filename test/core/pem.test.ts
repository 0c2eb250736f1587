import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AgentError } from '../../src/core/errors.ts';
import {
  encodeBase64,
  encodeCertificates,
  encodePem,
  parsePem,
  scanPem,
} from '../../src/core/pem.ts';
import { selfSigned } from './openssl.ts';

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const der = fc.uint8Array({ minLength: 1, maxLength: 600 });
const label = fc.constantFrom('CERTIFICATE', 'EC PRIVATE KEY', 'RSA PRIVATE KEY', 'PRIVATE KEY');
const block = fc.record({ label, der });

/** Text around blocks, without a line that begins like a block. */
const between = fc.constantFrom(
  '',
  '\n',
  '\r\n',
  '# a comment\n',
  'subject=CN = x -----BEGIN\n',
  ' -----BEGIN CERTIFICATE-----\n',
  ' \t\n\n',
);

function malformed(message: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof AgentError && error.code === 'PAIR_MALFORMED' && message.test(error.message);
}

describe('encodeBase64()', () => {
  it('is the base64 of Node for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        assert.equal(textOf(encodeBase64(bytes)), Buffer.from(bytes).toString('base64'));
      }),
    );
  });
});

describe('encodePem()', () => {
  it('is undone by parsePem()', () => {
    fc.assert(
      fc.property(block, ({ label, der }) => {
        const [parsed, ...more] = parsePem(encodePem(label, der));
        assert.equal(parsed?.label, label);
        assert.deepEqual([...parsed.der], [...der]);
        assert.deepEqual(more, []);
      }),
    );
  });

  it('writes lines of 64 characters and a final newline', () => {
    fc.assert(
      fc.property(der, (bytes) => {
        const lines = textOf(encodePem('X', bytes)).split('\n');
        assert.equal(lines.pop(), '');
        const body = lines.slice(1, -1);
        assert.equal(body.join(''), Buffer.from(bytes).toString('base64'));
        assert.ok(body.slice(0, -1).every((line) => line.length === 64));
      }),
    );
  });

  const keys = [
    {
      label: 'EC PRIVATE KEY',
      type: 'sec1',
      key: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    },
    {
      label: 'EC PRIVATE KEY',
      type: 'sec1',
      key: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    },
    {
      label: 'RSA PRIVATE KEY',
      type: 'pkcs1',
      key: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    },
    { label: 'PRIVATE KEY', type: 'pkcs8', key: generateKeyPairSync('ed25519') },
  ] as const;
  for (const { label, type, key } of keys) {
    it(`writes byte for byte what OpenSSL writes for a ${key.privateKey.asymmetricKeyType} ${label}`, () => {
      const { privateKey } = key;
      // The overloads accept sec1 and pkcs1 only for their own key types.
      const keyType = type as 'pkcs8';
      const pem = encodePem(label, privateKey.export({ format: 'der', type: keyType }));
      assert.equal(textOf(pem), privateKey.export({ format: 'pem', type: keyType }));
      assert.equal(createPrivateKey(Buffer.from(pem)).equals(privateKey), true);
    });
  }

  it('writes a certificate byte for byte as OpenSSL does', () => {
    const certificate = new X509Certificate(selfSigned({ subject: '/CN=pem' }).certificate);
    assert.equal(textOf(encodePem('CERTIFICATE', certificate.raw)), certificate.toString());
  });
});

/** The bytes of a block, or its error. */
function outcome(label: string, body: string): string {
  try {
    const text = `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
    return parsePem(Buffer.from(text))[0]?.der.toHex() ?? 'nothing';
  } catch (error) {
    return String(error).replaceAll(label, 'X');
  }
}

describe('encodeCertificates()', () => {
  it('writes the certificates in their order', () => {
    const certificates = ['/CN=one', '/CN=two'].map(
      (subject) => selfSigned({ subject }).certificate,
    );
    const pem = Buffer.concat(certificates);
    assert.equal(Buffer.from(encodeCertificates(parsePem(pem))).toString(), pem.toString());
  });
});

describe('parsePem()', () => {
  it('reads all blocks in order, with any text between them and any line ends', () => {
    const pieces = fc.array(fc.tuple(between, block), { maxLength: 4 });
    fc.assert(
      fc.property(pieces, fc.boolean(), between, (pieces, crlf, trailer) => {
        const text = pieces
          .map(([before, { label, der }]) => before + textOf(encodePem(label, der)))
          .join('');
        const file = bytesOf(crlf ? (text + trailer).replace(/\r?\n/g, '\r\n') : text + trailer);
        const found = parsePem(file).map(({ label, der }) => ({ label, der: [...der] }));
        const wanted = pieces.map(([, { label, der }]) => ({ label, der: [...der] }));
        assert.deepEqual(found, wanted);
      }),
    );
  });

  it('never returns a wrong block of a file that is truncated anywhere', () => {
    fc.assert(
      fc.property(fc.array(block, { minLength: 1, maxLength: 3 }), fc.nat(), (blocks, cut) => {
        const file = Buffer.concat(blocks.map(({ label, der }) => encodePem(label, der)));
        // The final newline is not part of the last block.
        const length = cut % (file.length - 1);
        const found = tryParse(file.subarray(0, length));
        if (found === undefined) return;
        assert.ok(found.length < blocks.length);
        for (const [index, { label, der }] of found.entries()) {
          assert.equal(label, blocks[index]?.label);
          assert.deepEqual([...der], [...(blocks[index]?.der ?? [])]);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('never reads two overwritten files as one block', () => {
    fc.assert(
      fc.property(block, block, fc.nat(), (first, second, cut) => {
        const [a, b] = [first, second].map(({ label, der }) => encodePem(label, der));
        assert.ok(a !== undefined && b !== undefined);
        const torn = Buffer.concat([a.subarray(0, 1 + (cut % (a.length - 2))), b]);
        const found = tryParse(torn) ?? [];
        for (const { der } of found) {
          assert.ok(Buffer.from(der).equals(first.der) || Buffer.from(der).equals(second.der));
        }
      }),
    );
  });

  it('refuses base64 with missing characters', () => {
    fc.assert(
      fc.property(der, fc.nat(), fc.integer({ min: 1, max: 3 }), (bytes, place, count) => {
        const body = Buffer.from(bytes).toString('base64');
        fc.pre(body.length > count);
        const at = place % (body.length - count);
        const damaged = body.slice(0, at) + body.slice(at + count);
        assert.throws(
          () => parsePem(bytesOf(`-----BEGIN X-----\n${damaged}\n-----END X-----\n`)),
          AgentError,
        );
      }),
    );
  });

  const damaged: readonly (readonly [string, string, RegExp])[] = [
    ['no end', '-----BEGIN X-----\nAAAA\n', /X has no END line/],
    ['an end of another label', '-----BEGIN X-----\nAAAA\n-----END Y-----\n', /X has no END line/],
    ['an empty body', '-----BEGIN X-----\n-----END X-----\n', /X is truncated/],
    ['a lone character', '-----BEGIN X-----\nAAAAA\n-----END X-----\n', /X is truncated/],
    ['no padding', '-----BEGIN X-----\nAA\n-----END X-----\n', /X is truncated/],
    ['too much padding', '-----BEGIN X-----\nAA===\n-----END X-----\n', /X is truncated/],
    ['data after the padding', '-----BEGIN X-----\nAA==AAAA\n-----END X-----\n', /X is not base64/],
    [
      'a null byte, as a crashed file system leaves',
      '-----BEGIN X-----\nAA\0A\n-----END X-----\n',
      /X is not base64/,
    ],
    [
      'an encrypted key',
      '-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END X-----\n',
      /X is not base64/,
    ],
    ['text after the BEGIN marker', '-----BEGIN X-----AAAA\n-----END X-----\n', /X begins or ends/],
    ['an END marker after data', '-----BEGIN X-----\nAAAA-----END X-----\n', /X begins or ends/],
    [
      'another block after the END marker',
      '-----BEGIN X-----\nAAAA\n-----END X----------BEGIN X-----\nAAAA\n-----END X-----\n',
      /X begins or ends/,
    ],
    ['no label', '-----BEGIN -----\nAAAA\n-----END -----\n', /invalid label/],
    ['a label that never ends', '-----BEGIN EC PRIVATE KEY\nAAAA\n', /invalid label/],
  ];
  for (const [name, text, message] of damaged) {
    it(`refuses ${name}`, () => assert.throws(() => parsePem(bytesOf(text)), malformed(message)));
  }

  it('decodes a certificate, in its faster way, like any other block', () => {
    const characters = fc.constantFrom(...Array.from('ABQf+/09==-_ \n\r\t\f\v\0é'));
    fc.assert(
      fc.property(fc.string({ unit: characters, maxLength: 12 }), (body) => {
        assert.equal(outcome('CERTIFICATE', body), outcome('PARAMETERS', body));
      }),
      { numRuns: 20_000 },
    );
  });

  it('never quotes a corrupt file', () => {
    const secret = 'MHcCAQEEIKJq';
    for (const text of [
      `-----BEGIN EC PRIVATE KEY----${secret}-----`,
      `-----BEGIN ${secret}-----`,
    ]) {
      assert.throws(
        () => parsePem(bytesOf(text)),
        (error) => error instanceof AgentError && !error.message.includes(secret),
      );
    }
  });

  it('finds no block in zeros, in text and in an empty file', () => {
    for (const text of ['', '\0'.repeat(4096), 'not a pem file', ' -----BEGIN X-----\n'])
      assert.deepEqual(parsePem(bytesOf(text)), []);
  });
});

function tryParse(file: Uint8Array): ReturnType<typeof parsePem> | undefined {
  try {
    return parsePem(file);
  } catch (error) {
    assert.ok(error instanceof AgentError && error.code === 'PAIR_MALFORMED');
    return undefined;
  }
}

describe('scanPem()', () => {
  const whole = textOf(encodePem('CERTIFICATE', Uint8Array.of(1, 2, 3)));

  it('finds the same blocks as parsePem() in a sound file', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(between, block)), (parts) => {
        const bytes = bytesOf(
          parts
            .map(([text, { label, der }]) => `${text}\n${textOf(encodePem(label, der))}`)
            .join(''),
        );
        assert.deepEqual(scanPem(bytes), { blocks: parsePem(bytes), problems: [] });
      }),
    );
  });

  const rows = [
    ['that is not base64', `${whole}${whole.replace('AQID', 'A*ID')}${whole}`, 2],
    ['that is truncated', `${whole}${whole.replace('AQID', 'AQI')}${whole}`, 2],
    ['with a broken label', `${whole}${whole.replace('CERTIFICATE-----', 'cert-----')}${whole}`, 2],
    ['without an END line', `${whole}-----BEGIN CERTIFICATE-----\nAQID\n`, 1],
  ] as const;
  for (const [what, text, count] of rows) {
    it(`skips and reports a block ${what}`, () => {
      const { blocks, problems } = scanPem(bytesOf(text));
      assert.equal(blocks.length, count);
      assert.equal(problems.length, 1);
      assert.doesNotMatch(problems.join(), /AQ|A\*/);
    });
  }
});
