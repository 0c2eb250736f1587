import { createHash } from 'node:crypto';
import { extensionIds } from '../../core/certificate-parts.ts';
import type { DerValue } from '../../core/der.ts';
import { derTags } from '../../core/der.ts';
import {
  DerError,
  bitStringBytes,
  contentWithTag,
  integerContent,
  oidText,
  onlyValue,
  sequenceFields,
  setElements,
} from '../../core/strict-der.ts';
import type { KeyFacts } from './key.ts';
import { readKey } from './key.ts';
import { readRequestPem } from './pem-block.ts';
import { signatureProblem } from './signature.ts';

/** The checks of the table that reading the bytes of a request decides. */
export type ReadingCheck = '2.1' | '2.2' | '2.3';

/** Depends only on the bytes of the request, so the result can be kept. */
export type RequestReading =
  | { readonly kind: 'read'; readonly request: ServingRequest }
  | { readonly kind: 'rejected'; readonly check: ReadingCheck; readonly message: string };

/** A PKCS #10 request (RFC 2986) whose form is correct. */
export interface ServingRequest {
  /** In the order of the encoding, without the borders of relative names. */
  readonly subject: readonly SubjectAttribute[];
  readonly altNames: readonly RawAltName[];
  readonly key: KeyFacts;
  /** SHA-256 over the SubjectPublicKeyInfo. */
  readonly keyDigest: string;
  readonly signatureProblem: string | undefined;
}

export interface SubjectAttribute {
  readonly oid: string;
  /** Of the string type, such as PrintableString. */
  readonly tag: number;
  readonly value: Uint8Array;
}

/** A GeneralName (RFC 5280 4.2.1.6): its context tag and its content. */
export interface RawAltName {
  readonly tag: number;
  readonly content: Uint8Array;
}

const setTag = 0x31;
const attributesTag = 0xa0;
const booleanTag = 0x01;
const extensionRequest = '1.2.840.113549.1.9.14';

/** Reads the PEM text of a CSR, and verifies the signature. Never throws. */
export function readRequest(pem: Uint8Array): RequestReading {
  const block = readRequestPem(pem);
  if (block.kind === 'rejected') return { kind: 'rejected', check: '2.1', message: block.message };
  try {
    return { kind: 'read', request: parseRequest(block.der) };
  } catch (error) {
    if (error instanceof ExtensionError) {
      return { kind: 'rejected', check: '2.3', message: error.message };
    }
    if (!(error instanceof DerError)) throw error;
    return {
      kind: 'rejected',
      check: '2.2',
      message: `the request is not strict DER: ${error.message}`,
    };
  }
}

/** The extensions of the request are others than exactly one subjectAltName. */
class ExtensionError extends Error {
  override readonly name = 'ExtensionError';
}

function parseRequest(der: Uint8Array): ServingRequest {
  const [info, algorithm, signature, ...rest] = sequenceFields(onlyValue(der));
  if (info === undefined || algorithm === undefined || rest.length > 0) {
    throw new DerError('the request does not have three fields');
  }
  const [version, subject, publicKey, attributes, ...more] = sequenceFields(info);
  if (publicKey === undefined || more.length > 0) {
    throw new DerError('the signed part of the request does not have four fields');
  }
  const [number, ...longer] = integerContent(version);
  if (number !== 0 || longer.length > 0) throw new DerError('the version of the request is not 0');
  contentWithTag(algorithm, derTags.sequence);
  const key = readKey(publicKey);
  const signed = { info: info.encoded, algorithm: algorithm.encoded, publicKey: publicKey.encoded };
  return {
    subject: readSubject(subject),
    altNames: readAltNames(readExtension(attributes)),
    key,
    keyDigest: createHash('sha256').update(publicKey.encoded).digest('base64url'),
    signatureProblem: signatureProblem({ ...signed, signature: bitStringBytes(signature), key }),
  };
}

function readSubject(subject: DerValue | undefined): SubjectAttribute[] {
  return sequenceFields(subject).flatMap((relativeName) => {
    const attributes = setElements(contentWithTag(relativeName, setTag));
    if (attributes.length === 0) throw new DerError('a relative name of the subject is empty');
    return attributes.map((attribute) => {
      const [type, value, ...rest] = sequenceFields(attribute);
      if (value === undefined || rest.length > 0) {
        throw new DerError('an attribute of the subject does not have two fields');
      }
      return { oid: oidText(type), tag: value.tag, value: value.content.slice() };
    });
  });
}

/** The only extension: a subjectAltName, as the content of its OCTET STRING. */
function readExtension(attributes: DerValue | undefined): Uint8Array {
  const [attribute, another] = setElements(contentWithTag(attributes, attributesTag));
  if (another !== undefined) throw new DerError('the request has more than one attribute');
  if (attribute === undefined) throw new ExtensionError('the request has no subjectAltName');
  const [type, values, ...rest] = sequenceFields(attribute);
  if (rest.length > 0) throw new DerError('an attribute does not have two fields');
  const id = oidText(type);
  if (id !== extensionRequest) throw new DerError(`the request has the attribute ${id}`);
  const [extensions, ...others] = setElements(contentWithTag(values, setTag));
  if (others.length > 0) throw new DerError('the extensionRequest has more than one value');
  const [extension, ...more] = sequenceFields(extensions).map(readOneExtension);
  const foreign = [extension, ...more].find(
    (found) => found && found.oid !== extensionIds.subjectAltName,
  );
  if (foreign !== undefined)
    throw new ExtensionError(`the request has the extension ${foreign.oid}`);
  if (extension === undefined) throw new ExtensionError('the request has no subjectAltName');
  if (more.length > 0) throw new ExtensionError('the request has more than one subjectAltName');
  return extension.value;
}

function readOneExtension(extension: DerValue): {
  readonly oid: string;
  readonly value: Uint8Array;
} {
  const fields = sequenceFields(extension);
  const [type, critical] = fields;
  // DER omits the default value, false.
  if (fields.length === 3 && !isTrue(critical)) throw new DerError('an extension is malformed');
  if (fields.length < 2 || fields.length > 3) throw new DerError('an extension is malformed');
  return { oid: oidText(type), value: contentWithTag(fields.at(-1), derTags.octetString) };
}

function isTrue(value: DerValue | undefined): boolean {
  return value?.tag === booleanTag && value.content.length === 1 && value.content[0] === 0xff;
}

function readAltNames(extension: Uint8Array): RawAltName[] {
  return sequenceFields(onlyValue(extension)).map(({ tag, content }) => ({
    tag,
    content: content.slice(),
  }));
}
