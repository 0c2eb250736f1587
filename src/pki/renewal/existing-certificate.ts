import { stat } from 'node:fs/promises';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { Secret } from '../../core/secret.ts';
import { kubeconfigCertificate } from '../../kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import type { FileContent } from '../../store/file-content.ts';
import type { Tree } from '../../sys/tree.ts';
import type { AuthorityFile } from './authority.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { isIn, readCertificatesOf } from './certificate-chain.ts';
import type { KeyForm } from './key-file.ts';
import { formOf } from './key-file.ts';
import type { KubeadmCertificate, KubernetesDirectories } from '../layout.ts';
import { creationCommand, fileOf, keyFileOf } from '../layout.ts';
import type { PlannedFile } from './planned-file.ts';
import { plannedFile } from './planned-file.ts';
import { requireReissuable } from './reissue.ts';

/** The places of a certificate and its key; those of a pair may be one file. */
export type Target =
  | { readonly kind: 'pair'; readonly certificate: PlannedFile; readonly key: PlannedFile }
  | {
      readonly kind: 'kubeconfig';
      readonly kubeconfig: PlannedFile & { readonly before: FileContent };
      /** The CAs to embed; absent to keep the embedded ones. */
      readonly authority?: Uint8Array;
    };

/** A certificate as it is on disk. */
export interface ExistingCertificate {
  readonly entry: KubeadmCertificate;
  readonly target: Target;
  /** The file of the certificate, with links resolved. */
  readonly path: string;
  readonly leaf: ChainCertificate;
  /** The other certificates in the file. */
  readonly others: readonly ChainCertificate[];
  readonly previousForm?: KeyForm;
  /** The modification time of the file. */
  readonly storedAt: Instant;
}

/** The files of a node. */
export interface NodeFiles {
  readonly tree: Tree;
  readonly directories: KubernetesDirectories;
}

/**
 * Reads one certificate. Undefined if it does not exist.
 * @param readAuthority the CAs that a kubeconfig has to embed; absent to keep the embedded ones
 * @throws AgentError that says why the certificate cannot be renewed
 */
export async function readExisting(
  entry: KubeadmCertificate,
  { tree, directories }: NodeFiles,
  readAuthority?: () => Promise<AuthorityFile>,
): Promise<ExistingCertificate | undefined> {
  const file = fileOf(entry, directories);
  const found = await (entry.kind === 'pair'
    ? readPair(tree, { certificate: file, key: keyFileOf(file) })
    : readKubeconfig(tree, file, readAuthority));
  if (found === undefined) return undefined;
  const { target, certificates, previousForm } = found;
  const path = target.kind === 'pair' ? target.certificate.path : target.kubeconfig.path;
  const leaf = certificates.find(({ isCa }) => !isCa) ?? certificates[0];
  if (leaf === undefined) throw withoutCertificate(path, entry);
  requireReissuable(leaf, path);
  return {
    entry,
    target,
    path,
    leaf,
    others: certificates.filter((other) => other !== leaf),
    ...(previousForm && { previousForm }),
    storedAt: Math.floor((await stat(path)).mtimeMs),
  };
}

interface Found {
  readonly target: Target;
  readonly certificates: readonly ChainCertificate[];
  readonly previousForm?: KeyForm | undefined;
}

async function readPair(
  tree: Tree,
  named: { readonly certificate: string; readonly key: string },
): Promise<Found | undefined> {
  const certificate = await plannedFile(tree, named.certificate);
  if (certificate.before === undefined) return undefined;
  const key = keyBeside(certificate, await plannedFile(tree, named.key));
  const certificates = await readCertificatesOf(certificate.path, certificate.before.bytes);
  return {
    target: { kind: 'pair', certificate, key },
    certificates,
    previousForm: key.before && formOf(new Secret(key.before.bytes)),
  };
}

/** The same object if both are in one file, so that its key is wiped with it. */
function keyBeside(certificate: PlannedFile, key: PlannedFile): PlannedFile {
  if (key.path !== certificate.path) return key;
  key.before?.bytes.fill(0);
  return certificate;
}

async function readKubeconfig(
  tree: Tree,
  file: string,
  readAuthority: (() => Promise<AuthorityFile>) | undefined,
): Promise<Found | undefined> {
  const { path, before } = await plannedFile(tree, file);
  if (before === undefined) return undefined;
  const found = kubeconfigCertificate(new KubeconfigDocument(path, textOf(path, before)));
  const { source } = found;
  if (source.kind === 'files') {
    const pair = { certificate: source.certificateFile, key: source.keyFile };
    const read = await readPair(tree, pair);
    if (read !== undefined) return read;
    throw new AgentError(
      'PAIR_MALFORMED',
      `${path} names ${pair.certificate}, which does not exist`,
      {
        remedy: `Correct client-certificate in ${path}`,
      },
    );
  }
  using key = source.key;
  const embedded =
    found.authority &&
    readAuthority &&
    (await authorityFor(path, found.authority, await readAuthority()));
  return {
    target: {
      kind: 'kubeconfig',
      kubeconfig: { path, before },
      ...(embedded && { authority: embedded }),
    },
    certificates: await readCertificatesOf(path, source.certificate),
    previousForm: formOf(key),
  };
}

/** @throws AgentError KUBECONFIG_INVALID */
export function textOf(path: string, { bytes }: FileContent): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new AgentError('KUBECONFIG_INVALID', `kubeconfig ${path} is not UTF-8`, {
      remedy: `Make ${path} a UTF-8 file`,
    });
  }
}

/**
 * The whole CA file, and after it the CAs that only the kubeconfig has, such as that of a load
 * balancer. Undefined if the kubeconfig has every CA of the file already.
 */
async function authorityFor(
  path: string,
  embedded: Uint8Array,
  authority: AuthorityFile,
): Promise<Uint8Array | undefined> {
  const trusted = await readCertificatesOf(path, embedded);
  if (authority.certificates.every((certificate) => isIn(trusted, certificate))) return undefined;
  const extra = trusted.filter((certificate) => !isIn(authority.certificates, certificate));
  return Buffer.concat([
    authority.pem,
    ...extra.map(({ openssl }) => Buffer.from(openssl.toString())),
  ]);
}

function withoutCertificate(path: string, entry: KubeadmCertificate): AgentError {
  const files = entry.kind === 'pair' ? 'it and its key' : 'it';
  return new AgentError('PAIR_MALFORMED', `${path} contains no certificate in PEM`, {
    remedy: `Restore ${path} from a backup, or delete ${files} and run: ${creationCommand(entry.name)}`,
  });
}
