import { X509Certificate, createPrivateKey } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import type { CertificateFacts, PairFacts } from '../core/certificate.ts';
import { AgentError } from '../core/errors.ts';
import type { PemBlock } from '../core/pem.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import { Secret } from '../core/secret.ts';
import { parseCertificate } from '../core/x509.ts';
import { readBoundedFile } from '../sys/small-file.ts';
import { attempt, isBadContent } from '../sys/file-error.ts';

/** A certificate whose key is known to belong to it; the key itself is gone again. */
export interface Pair {
  readonly facts: CertificateFacts;
  /** The leaf in DER. */
  readonly leaf: Uint8Array<ArrayBuffer>;
  /** SubjectPublicKeyInfo of the leaf in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/** A pair that stands in a file. */
export interface LoadedPair extends Pair {
  readonly facts: PairFacts;
}

/** A pair with the bytes of its file, the key among them; disposing it wipes them. */
export interface OpenPair extends Disposable {
  readonly pair: LoadedPair;
  readonly content: Secret;
}

/**
 * Loads a pair from one file, through links. Nothing of the key is left in memory.
 * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH for what was read and is no pair;
 * STORE_PERMISSIONS, STORE_IO for what could not be read
 */
export async function loadPair(path: string): Promise<LoadedPair> {
  using open = await openPair(path);
  return open.pair;
}

/** As loadPair, for whoever copies the file. */
export async function openPair(path: string): Promise<OpenPair> {
  const target = await attempt('read', path, () => realpath(path));
  const { content, modifiedAt } = await readBoundedFile(target);
  return opened(content, { origin: target, path: target, storedAt: modifiedAt });
}

/**
 * A certificate file and a key file, as the kubelet keeps its first pair, brought
 * into the form of one file: leaf, intermediates, key. The facts name the certificate file.
 * @throws AgentError as loadPair does
 */
export async function openSplitPair(files: {
  readonly certificate: string;
  readonly key: string;
}): Promise<OpenPair> {
  using certificateFile = await readBoundedFile(files.certificate);
  using keyFile = await readBoundedFile(files.key);
  using left = readBlocks(certificateFile.content, files.certificate);
  using right = readBlocks(keyFile.content, files.key);
  return await opened(encodeBlocks([...left.certificates, ...right.keys]), {
    origin: `${files.certificate} with ${files.key}`,
    path: files.certificate,
    storedAt: certificateFile.modifiedAt,
  });
}

/**
 * Checks the content of a pair file: certificates that all parse, the first being
 * the leaf, and exactly one key, which belongs to it. Their order does not matter,
 * nor do other blocks (`EC PARAMETERS`): so it is for Go's tls.LoadX509KeyPair.
 * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH
 */
export async function parsePair(content: Secret, origin: string): Promise<Pair> {
  using blocks = readBlocks(content, origin);
  const [leaf, ...intermediates] = blocks.certificates;
  const [key, ...furtherKeys] = blocks.keys;
  if (leaf === undefined) throw malformed(`${origin} has no certificate`);
  if (key === undefined) throw malformed(`${origin} has no private key`);
  if (furtherKeys.length > 0) throw malformed(`${origin} has more than one private key`);
  try {
    const { facts, der, publicKey } = await parseCertificate(leaf.der);
    for (const intermediate of intermediates) await parseCertificate(intermediate.der);
    requireMatch(key, der, origin);
    return { facts, leaf: der, publicKey };
  } catch (error) {
    // Whatever a parser throws is a fault of the content.
    throw isBadContent(error) ? error : malformed(`${origin} is damaged`, error);
  }
}

async function opened(
  content: Secret,
  file: { readonly origin: string; readonly path: string; readonly storedAt: number },
): Promise<OpenPair> {
  try {
    const pair = await parsePair(content, file.origin);
    const facts = { ...pair.facts, path: file.path, storedAt: file.storedAt };
    return { pair: { ...pair, facts }, content, [Symbol.dispose]: () => content.wipe() };
  } catch (error) {
    content.wipe();
    throw error;
  }
}

interface PairBlocks extends Disposable {
  readonly certificates: readonly PemBlock[];
  readonly keys: readonly PemBlock[];
}

function readBlocks(content: Secret, origin: string): PairBlocks {
  try {
    const blocks = parsePem(content.expose());
    const keys = blocks.filter(({ label }) => label.endsWith('PRIVATE KEY'));
    return {
      certificates: blocks.filter(({ label }) => label === 'CERTIFICATE'),
      keys,
      [Symbol.dispose]: () => {
        for (const key of keys) key.der.fill(0);
      },
    };
  } catch (error) {
    throw malformed(`${origin} is damaged`, error);
  }
}

function encodeBlocks(blocks: readonly PemBlock[]): Secret {
  const encoded = blocks.map(({ label, der }) => encodePem(label, der));
  const joined = new Uint8Array(encoded.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of encoded) {
    joined.set(part, at);
    at += part.length;
    part.fill(0);
  }
  return new Secret(joined);
}

/** The labels of RFC 5915, RFC 8017 and RFC 5958; a key under a password is of no use to a server that starts by itself. */
const keyFormats: Readonly<Record<string, 'sec1' | 'pkcs1' | 'pkcs8'>> = {
  'EC PRIVATE KEY': 'sec1',
  'RSA PRIVATE KEY': 'pkcs1',
  'PRIVATE KEY': 'pkcs8',
};

function requireMatch({ label, der }: PemBlock, leaf: Uint8Array, origin: string): void {
  const type = keyFormats[label];
  if (type === undefined) throw malformed(`${origin} has a key of an unusable kind: ${label}`);
  const key = Buffer.from(der.buffer, der.byteOffset, der.byteLength);
  const privateKey = createPrivateKey({ key, format: 'der', type });
  if (new X509Certificate(leaf).checkPrivateKey(privateKey)) return;
  throw new AgentError(
    'CERT_KEY_MISMATCH',
    `the private key in ${origin} does not belong to the certificate`,
  );
}

function malformed(message: string, cause?: unknown): AgentError {
  return new AgentError('PAIR_MALFORMED', message, { cause });
}
