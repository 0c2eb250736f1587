import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeProtobuf } from './protobuf.ts';
import { StatusError } from './status-error.ts';

/** A field of wire type 2 or, for a number, 0. */
function field(number: number, value: string | number | Buffer): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number * 8), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    if (rest < 0x80n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

function message(...fields: readonly Buffer[]): Buffer {
  return Buffer.concat(fields);
}

function envelope(kind: string, raw: Buffer): Buffer {
  const typeMeta = message(field(1, 'certificates.k8s.io/v1'), field(2, kind));
  return message(Buffer.from('k8s\0'), field(1, typeMeta), field(2, raw), field(4, ''));
}

const csr = 'CertificateSigningRequest';

describe('decodeProtobuf()', () => {
  it('reads a CertificateSigningRequest as its JSON form would parse', () => {
    const time = field(1, Date.UTC(2026, 0, 1) / 1000);
    const raw = message(
      field(
        1,
        message(
          field(1, 'name'),
          field(2, ''),
          field(5, 'uid'),
          field(6, '42'),
          field(7, 3),
          field(8, message()),
          field(11, message(field(1, 'a'), field(2, 'b'))),
          field(11, message(field(1, 'c'), field(2, ''))),
        ),
      ),
      field(
        2,
        message(
          field(1, Buffer.from('PEM')),
          field(2, 'someone'),
          field(5, 'digital signature'),
          field(5, 'client auth'),
          field(7, 'example.com/x'),
          field(8, 86_400),
        ),
      ),
      field(
        3,
        message(
          field(
            1,
            message(
              field(1, 'Approved'),
              field(2, 'R'),
              field(3, 'M'),
              field(4, time),
              field(6, 'True'),
            ),
          ),
          field(2, Buffer.from('CERT')),
        ),
      ),
    );
    assert.deepEqual(decodeProtobuf(envelope(csr, raw)), {
      apiVersion: 'certificates.k8s.io/v1',
      kind: csr,
      metadata: {
        name: 'name',
        uid: 'uid',
        resourceVersion: '42',
        labels: { a: 'b', c: '' },
      },
      spec: {
        request: 'UEVN',
        usages: ['digital signature', 'client auth'],
        signerName: 'example.com/x',
        expirationSeconds: 86_400,
      },
      status: {
        conditions: [
          {
            type: 'Approved',
            reason: 'R',
            message: 'M',
            lastUpdateTime: '2026-01-01T00:00:00Z',
            status: 'True',
          },
        ],
        certificate: 'Q0VSVA==',
      },
    });
  });

  it('reads negative numbers', () => {
    const raw = field(2, field(8, -1));
    const { spec } = decodeProtobuf(envelope(csr, raw)) as { spec: object };
    assert.deepEqual(spec, { expirationSeconds: -1 });
  });

  it('passes over fixed-size fields it does not know', () => {
    const fixed = Buffer.from([15 * 8 + 1, ...Array.from({ length: 8 }, () => 1)]);
    const fixed32 = Buffer.from([14 * 8 + 5, 1, 1, 1, 1]);
    const raw = message(fixed, fixed32, field(1, field(1, 'n')));
    const { metadata } = decodeProtobuf(envelope(csr, raw)) as { metadata: object };
    assert.deepEqual(metadata, { name: 'n' });
  });

  it('reads the preconditions of a DeleteOptions', () => {
    const raw = field(2, message(field(1, 'u'), field(2, '7')));
    const { preconditions } = decodeProtobuf(envelope('DeleteOptions', raw)) as {
      preconditions: object;
    };
    assert.deepEqual(preconditions, { uid: 'u', resourceVersion: '7' });
  });

  const good = envelope(csr, field(1, field(1, 'name')));
  const rows: readonly (readonly [name: string, bytes: Buffer, code: number])[] = [
    ['nothing', Buffer.alloc(0), 400],
    ['JSON', Buffer.from('{"kind":"CertificateSigningRequest"}'), 400],
    ['an envelope without an object', Buffer.from('k8s\0'), 400],
    ['a number where a message belongs', envelope(csr, field(1, 7)), 400],
    ['a group, which proto3 has not', envelope(csr, Buffer.from([1 * 8 + 3])), 400],
    ['a number without an end', envelope(csr, Buffer.alloc(12, 0xff)), 400],
    ['a length beyond the end', envelope(csr, Buffer.from([1 * 8 + 2, 0x7f])), 400],
    ['a negative length', envelope(csr, message(Buffer.from([1 * 8 + 2]), varint(-5))), 400],
    ['another kind', envelope('Pod', field(1, field(1, 'name'))), 415],
    ...Array.from(
      { length: 6 },
      (_, index) =>
        [`all but the last ${index + 3} bytes`, good.subarray(0, -(index + 3)), 400] as const,
    ),
  ];
  for (const [name, bytes, code] of rows) {
    it(`refuses ${name} with ${code}`, () => {
      assert.throws(
        () => decodeProtobuf(bytes),
        (error) => error instanceof StatusError && error.status.code === code,
      );
    });
  }
});
