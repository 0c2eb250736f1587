import { formatInstant, second } from '../../src/core/instant.ts';
import { StatusError } from './status-error.ts';

/**
 * Reads the protobuf form of what typed Go clients send about CSRs, because they send
 * nothing else: client-go's certificate manager and `kubectl certificate approve`
 * among them. Answers stay JSON, which they take as well.
 */
export const protobufMediaType = 'application/vnd.kubernetes.protobuf';

/**
 * The object as its JSON form would parse. Source of the field numbers:
 * generated.proto of k8s.io/api/certificates/v1, k8s.io/apimachinery meta/v1 and runtime.
 * @throws StatusError BadRequest or UnsupportedMediaType
 */
export function decodeProtobuf(bytes: Buffer): unknown {
  if (bytes.subarray(0, 4).toString('latin1') !== 'k8s\0') throw malformed('no k8s envelope');
  const envelope = readMessage(envelopeFields, bytes.subarray(4));
  const { typeMeta, raw } = envelope;
  if (!isTypeMeta(typeMeta) || !Buffer.isBuffer(raw)) throw malformed('the envelope is incomplete');
  const fields = kinds.get(typeMeta.kind);
  if (fields === undefined) {
    throw new StatusError(
      'UnsupportedMediaType',
      `${protobufMediaType} is not read for ${typeMeta.kind}: send application/json`,
    );
  }
  return { ...typeMeta, ...readMessage(fields, raw) };
}

type Read = (value: number | Buffer) => unknown;

interface Field {
  readonly name: string;
  readonly read: Read;
  readonly list?: true;
}

type Fields = Readonly<Record<number, Field>>;

const text: Read = (value) => (Buffer.isBuffer(value) ? value.toString('utf8') : undefined);
const base64: Read = (value) => (Buffer.isBuffer(value) ? value.toString('base64') : undefined);
const raw: Read = (value) => value;
const integer: Read = (value) => (typeof value === 'number' ? value : undefined);

const time: Read = (value) => {
  const { seconds } = readMessage({ 1: { name: 'seconds', read: integer } }, value);
  return typeof seconds === 'number' ? formatInstant(seconds * second) : undefined;
};

function message(fields: Fields): Read {
  return (value) => readMessage(fields, value);
}

const mapEntry: Read = (value) => {
  const fields: Fields = { 1: { name: 'key', read: text }, 2: { name: 'value', read: text } };
  const { key = '', value: content = '' } = readMessage(fields, value);
  return [key, content];
};

const envelopeFields: Fields = {
  1: {
    name: 'typeMeta',
    read: message({ 1: { name: 'apiVersion', read: text }, 2: { name: 'kind', read: text } }),
  },
  2: { name: 'raw', read: raw },
};

const metadataFields: Fields = {
  1: { name: 'name', read: text },
  2: { name: 'generateName', read: text },
  5: { name: 'uid', read: text },
  6: { name: 'resourceVersion', read: text },
  11: { name: 'labels', read: mapEntry, list: true },
  12: { name: 'annotations', read: mapEntry, list: true },
};

const conditionFields: Fields = {
  1: { name: 'type', read: text },
  2: { name: 'reason', read: text },
  3: { name: 'message', read: text },
  4: { name: 'lastUpdateTime', read: time },
  5: { name: 'lastTransitionTime', read: time },
  6: { name: 'status', read: text },
};

const csrFields: Fields = {
  1: {
    name: 'metadata',
    read: (value) => {
      const metadata = readMessage(metadataFields, value);
      return { ...metadata, ...asMap(metadata, 'labels'), ...asMap(metadata, 'annotations') };
    },
  },
  2: {
    name: 'spec',
    read: message({
      1: { name: 'request', read: base64 },
      5: { name: 'usages', read: text, list: true },
      7: { name: 'signerName', read: text },
      8: { name: 'expirationSeconds', read: integer },
    }),
  },
  3: {
    name: 'status',
    read: message({
      1: { name: 'conditions', read: message(conditionFields), list: true },
      2: { name: 'certificate', read: base64 },
    }),
  },
};

const deleteOptionsFields: Fields = {
  2: {
    name: 'preconditions',
    read: message({
      1: { name: 'uid', read: text },
      2: { name: 'resourceVersion', read: text },
    }),
  },
};

/** k8s.io/api/authorization/v1. */
const accessReviewFields: Fields = {
  2: {
    name: 'spec',
    read: message({
      1: {
        name: 'resourceAttributes',
        read: message({
          1: { name: 'namespace', read: text },
          2: { name: 'verb', read: text },
          3: { name: 'group', read: text },
          4: { name: 'version', read: text },
          5: { name: 'resource', read: text },
          6: { name: 'subresource', read: text },
          7: { name: 'name', read: text },
        }),
      },
      2: {
        name: 'nonResourceAttributes',
        read: message({ 1: { name: 'path', read: text }, 2: { name: 'verb', read: text } }),
      },
    }),
  },
};

const kinds: ReadonlyMap<string, Fields> = new Map([
  ['CertificateSigningRequest', csrFields],
  ['DeleteOptions', deleteOptionsFields],
  ['SelfSubjectAccessReview', accessReviewFields],
  // Nothing in it but the question itself.
  ['SelfSubjectReview', {}],
]);

/** Fields without an entry are passed over; Go leaves out neither empty strings nor zero times, so those are dropped. */
function readMessage(fields: Fields, value: number | Buffer): Record<string, unknown> {
  if (!Buffer.isBuffer(value)) throw malformed('a number where a message belongs');
  const lists = new Map<string, unknown[]>();
  const single = new Map<string, unknown>();
  for (const [number, content] of wireFields(value)) {
    const field = fields[number];
    if (field === undefined) continue;
    const read = field.read(content);
    if (field.list) lists.set(field.name, [...(lists.get(field.name) ?? []), read]);
    else if (read !== undefined && read !== '') single.set(field.name, read);
  }
  return { ...Object.fromEntries(single), ...Object.fromEntries(lists) };
}

function* wireFields(bytes: Buffer): Generator<readonly [number: number, value: number | Buffer]> {
  const reader = { bytes, at: 0 };
  while (reader.at < bytes.length) {
    const tag = readVarint(reader);
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        yield [number, readVarint(reader)];
        break;
      case 1:
        yield [number, take(reader, 8)];
        break;
      case 2:
        yield [number, take(reader, readVarint(reader))];
        break;
      case 5:
        yield [number, take(reader, 4)];
        break;
      default:
        throw malformed(`wire type ${tag % 8}`);
    }
  }
}

interface Reader {
  readonly bytes: Buffer;
  at: number;
}

function readVarint(reader: Reader): number {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = take(reader, 1)[0] ?? 0;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return Number(BigInt.asIntN(64, value));
  }
  throw malformed('a number has more than ten bytes');
}

function take(reader: Reader, length: number): Buffer {
  const end = reader.at + length;
  if (length < 0 || end > reader.bytes.length) throw malformed('the message is cut off');
  const taken = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  return taken;
}

function asMap(metadata: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> {
  const entries = metadata[name];
  return Array.isArray(entries)
    ? { [name]: Object.fromEntries(entries as [string, unknown][]) }
    : {};
}

function isTypeMeta(value: unknown): value is { apiVersion: string; kind: string } {
  return typeof value === 'object' && value !== null && 'apiVersion' in value && 'kind' in value;
}

function malformed(problem: string): StatusError {
  return new StatusError('BadRequest', `the protobuf body cannot be read: ${problem}`);
}
