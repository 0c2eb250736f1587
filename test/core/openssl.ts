import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parsePem } from '../../src/core/pem.ts';

/**
 * The reference for requests and certificates: the openssl
 * program, which shares no code with the library under test.
 */
export function openssl(args: readonly string[], input: Uint8Array = new Uint8Array()): string {
  return execFileSync('openssl', args, { input, encoding: 'utf8', stdio: 'pipe' });
}

interface SelfSignedOptions {
  /** In the form of `openssl req -subj`. */
  readonly subject: string;
  /** In the form of `openssl req -addext`. Without any, openssl creates a CA. */
  readonly extensions?: readonly string[];
  /** In the form of `openssl genpkey`. */
  readonly key?: readonly string[];
  readonly options?: readonly string[];
}

export interface SelfSigned {
  /** PEM. */
  readonly certificate: Buffer;
  readonly key: Buffer;
}

const p256 = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];

export function selfSigned(wanted: SelfSignedOptions): SelfSigned {
  const { subject, extensions = [], key = p256, options = [] } = wanted;
  return inDirectory((path) => {
    openssl(['genpkey', ...key, '-out', path('key')]);
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    const request = ['req', '-x509', '-utf8', '-key', path('key'), '-subj', subject];
    openssl([...request, '-out', path('crt'), ...options, ...added]);
    return { certificate: readFileSync(path('crt')), key: readFileSync(path('key')) };
  });
}

/** A certificate for a new key, signed by `ca`. */
export function signedBy(ca: SelfSigned, subject: string): Buffer {
  return inDirectory((path) => {
    openssl(['genpkey', ...p256, '-out', path('key')]);
    openssl(['req', '-new', '-key', path('key'), '-subj', subject, '-out', path('csr')]);
    writeFileSync(path('ca.crt'), ca.certificate);
    writeFileSync(path('ca.key'), ca.key);
    const signer = ['-CA', path('ca.crt'), '-CAkey', path('ca.key'), '-CAcreateserial'];
    openssl(['x509', '-req', '-in', path('csr'), ...signer, '-out', path('crt')]);
    return readFileSync(path('crt'));
  });
}

/** A PKCS #10 request for a new key, in PEM. */
export function requestFor({ subject, extensions = [] }: SelfSignedOptions): Buffer {
  return inDirectory((path) => {
    openssl(['genpkey', ...p256, '-out', path('key')]);
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    openssl(['req', '-new', '-key', path('key'), '-subj', subject, ...added, '-out', path('csr')]);
    return readFileSync(path('csr'));
  });
}

/** The first block of a PEM file in DER. */
export function derOf(pem: Uint8Array): Uint8Array<ArrayBuffer> {
  const [block] = parsePem(pem);
  if (block === undefined) throw new Error('no PEM block');
  return block.der;
}

/** Calls `work` with a function that names files in a temporary directory. */
function inDirectory<T>(work: (path: (name: string) => string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'nodecertd-openssl-'));
  try {
    return work((name) => join(directory, name));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
