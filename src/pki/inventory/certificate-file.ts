import type { PemBlock } from '../../core/pem.ts';
import { scanPem } from '../../core/pem.ts';
import { describeError, hasErrno } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { isMissing } from '../../sys/file-error.ts';
import { parseFileSync } from '../../sys/small-file.ts';
import type { InventoryCertificate } from './certificate.ts';
import { inventoryCertificate } from './certificate.ts';

/** A trust bundle of a distribution has 250 kB. */
const largestFile = 4 * 1024 * 1024;

export interface CertificateFile {
  readonly kind: 'read';
  readonly path: string;
  /** In the order of the file. */
  readonly certificates: readonly InventoryCertificate[];
  /** Blocks that are malformed or contain no certificate. */
  readonly problems: readonly string[];
  readonly hasKey: boolean;
  /** When it got its content or its place. A restored file keeps its older modification time. */
  readonly changedAt: number;
}

export type FileReading =
  | CertificateFile
  | { readonly kind: 'missing'; readonly path: string; readonly reason: string }
  | {
      readonly kind: 'unreadable';
      readonly path: string;
      readonly reason: string;
      /** The content looks like that of a kubeconfig, which embeds its certificates in base64. */
      readonly isKubeconfig?: boolean;
    };

/** Reads the certificates of a file in PEM or DER. Never rejects: a bad file is a row of its own. */
export function readCertificateFile(path: string): FileReading {
  try {
    return parseFileSync(path, largestFile, (bytes, changedAt) => {
      const content = readCertificates(bytes);
      if (typeof content === 'string') {
        const isKubeconfig = content === noCertificate && looksLikeKubeconfig(bytes);
        return { kind: 'unreadable', path, reason: content, isKubeconfig };
      }
      return { kind: 'read', path, changedAt, ...content };
    });
  } catch (error) {
    return unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): FileReading {
  // A loop of links counts as missing elsewhere, but here it is a file that someone has to repair.
  if (hasErrno(error, 'ELOOP')) return { kind: 'unreadable', path, reason: 'is a loop of links' };
  if (isMissing(error)) return { kind: 'missing', path, reason: 'does not exist' };
  if (error instanceof RangeError) return { kind: 'unreadable', path, reason: error.message };
  return { kind: 'unreadable', path, reason: `cannot be read: ${reasonWithoutPath(error)}` };
}

/** The text of a system error without the path, because a key may have been pasted in its place. */
export function reasonWithoutPath(error: unknown): string {
  if (hasErrno(error, 'ERR_INVALID_ARG_VALUE')) return 'it is not a path';
  return describeError(error).replace(/, \w+ '[^]*$/, '');
}

export type CertificateContent = Pick<CertificateFile, 'certificates' | 'problems' | 'hasKey'>;

/** The certificates of PEM or DER, or the reason why there are none. */
export function readCertificates(bytes: Uint8Array): CertificateContent | string {
  if (bytes.length === 0) return 'is empty';
  const single = bytes[0] === derSequence ? inventoryCertificate(bytes.slice()) : undefined;
  if (single !== undefined) return { certificates: [single], problems: [], hasKey: false };
  if (isKeystore(bytes)) return 'keystore: nodecertd does not open PKCS #12 or JKS';
  const { blocks, problems } = scanPem(bytes);
  using _ = wipedBlocks(blocks);
  const labeled = blocks.filter(({ label }) => certificateLabels.has(label));
  const parsed = labeled.map(({ der }) => inventoryCertificate(der));
  const certificates = parsed.filter((certificate) => certificate !== undefined);
  const broken = parsed.flatMap((certificate, at) =>
    certificate === undefined ? [`certificate ${at + 1} cannot be parsed`] : [],
  );
  const all = [...problems, ...broken];
  if (certificates.length === 0) return all[0] ?? noCertificate;
  return { certificates, problems: all, hasKey: blocks.some(isKey) };
}

const noCertificate = 'contains no certificate';

/** YAML or JSON: one of these keys is among the first. */
function looksLikeKubeconfig(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096));
  const keys = /(?:^|[{,])[ \t]*(["']?)(?:clusters|contexts|current-context|users)\1[ \t]*:/m;
  return keys.test(start.toString('latin1'));
}

const derSequence = 0x30;

/** OpenSSL writes the last two; `TRUSTED CERTIFICATE` has trust settings after the certificate. */
const certificateLabels = new Set(['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE']);

export function isKey({ label }: PemBlock): boolean {
  return label.endsWith('PRIVATE KEY');
}

function wipedBlocks(blocks: readonly PemBlock[]): Disposable {
  return {
    [Symbol.dispose]: () => {
      for (const block of blocks) if (isKey(block)) new Secret(block.der).wipe();
    },
  };
}

/** JKS begins with a magic number; PKCS #12 is a sequence that begins with the version 3. */
function isKeystore(bytes: Uint8Array): boolean {
  const [first, second, third, fourth] = bytes;
  if (first === 0xfe && second === 0xed && third === 0xfe && fourth === 0xed) return true;
  if (first !== derSequence) return false;
  const lengthBytes = (second ?? 0) > 0x80 ? (second ?? 0) - 0x80 : 0;
  const version = bytes.subarray(2 + lengthBytes, 5 + lengthBytes);
  return version[0] === 0x02 && version[1] === 0x01 && version[2] === 0x03;
}
