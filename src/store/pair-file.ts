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

/** A certificate whose private key has been checked; the key itself is no longer in memory. */
export interface Pair {
  readonly facts: CertificateFacts;
  /** The leaf in DER. */
  readonly leaf: Uint8Array<ArrayBuffer>;
  /** SubjectPublicKeyInfo of the leaf in DER. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/** A key pair that was read from a file. */
export interface LoadedPair extends Pair {
  readonly facts: PairFacts;
}

/** A key pair with the content of its file, including the key. Disposing it wipes the content. */
export interface OpenPair extends Disposable {
  readonly pair: LoadedPair;
  readonly content: Secret;
}

/**
 * Loads a key pair from one file, following links. Leaves nothing of the key in memory.
 * @throws AgentError PAIR_MALFORMED, CERT_KEY_MISMATCH if the content is not a key pair;
 * STORE_PERMISSIONS, STORE_IO if the file cannot be read
 */
export async function loadPair(path: string): Promise<LoadedPair> {
  using open = await openPair(path);
  return open.pair;
}

/** Like loadPair, but also returns the content, so that the caller can copy it. */
export async function openPair(path: string): Promise<OpenPair> {
  const target = await attempt('read', path, () => realpath(path));
  const { content, modifiedAt } = await readBoundedFile(target);
  return opened(content, { origin: target, path: target, storedAt: modifiedAt });
}

/**
 * Reads a certificate file and a key file, in which a kubelet keeps its first key pair, and
 * joins them in the form of one file: leaf, intermediates, key. The facts name the certificate
 * file.
 * @throws AgentError as loadPair
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
 * Checks the content of a key pair file: all certificates parse, the first one is the leaf,
 * and there is exactly one private key, which matches the leaf. As in Go's
 * tls.LoadX509KeyPair, the order does not matter, and other blocks (`EC PARAMETERS`) are
 * ignored.
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
    // A parser fails only because of the content.
    throw isBadContent(error) ? error : malformed(`${origin} is corrupt`, error);
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
    throw malformed(`${origin} is corrupt`, error);
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

/**
 * The labels of RFC 5915, RFC 8017 and RFC 5958. Excludes encrypted keys, because no user enters
 * a password when a server starts.
 */
const keyFormats: Readonly<Record<string, 'sec1' | 'pkcs1' | 'pkcs8'>> = {
  'EC PRIVATE KEY': 'sec1',
  'RSA PRIVATE KEY': 'pkcs1',
  'PRIVATE KEY': 'pkcs8',
};

function requireMatch({ label, der }: PemBlock, leaf: Uint8Array, origin: string): void {
  const type = keyFormats[label];
  if (type === undefined)
    throw malformed(`${origin} has a private key of an unsupported kind: ${label}`);
  const key = Buffer.from(der.buffer, der.byteOffset, der.byteLength);
  const privateKey = createPrivateKey({ key, format: 'der', type });
  if (new X509Certificate(leaf).checkPrivateKey(privateKey)) return;
  throw new AgentError(
    'CERT_KEY_MISMATCH',
    `the private key in ${origin} does not match the certificate`,
  );
}

function malformed(message: string, cause?: unknown): AgentError {
  return new AgentError('PAIR_MALFORMED', message, { cause });
}
