import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import assert from 'node:assert/strict';
import type { KeyAlgorithm } from '../../../src/core/certificate-spec.ts';
import type { ChainCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import type { AuthorityName } from '../../../src/pki/layout.ts';
import {
  authorityFile,
  authorityNames,
  keyFileOf,
  kubeadmCertificates,
} from '../../../src/pki/layout.ts';
import { readExisting } from '../../../src/pki/renewal/existing-certificate.ts';
import type { PlannedCertificate, Selection } from '../../../src/pki/renewal/renewal-plan.ts';
import type { RenewalRequest } from '../../../src/pki/renewal/renewal.ts';
import { previewRenewal, renew } from '../../../src/pki/renewal/renewal.ts';
import type { RenewalResult } from '../../../src/pki/renewal/renewal-run.ts';
import type { PlannedRequest } from '../../../src/pki/renewal/request-export.ts';
import { exportRequests } from '../../../src/pki/renewal/request-export.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import { openssl } from '../../core/openssl.ts';
import type { OpensslPair } from './openssl-authority.ts';
import { caExtensions, issueWithOpenssl } from './openssl-authority.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { copyOf, optionsFor, requestFor } from './renewal-tree.ts';

/** A node without the keys of its CAs, and the folders of an administrator. */
export interface ExternalTree extends KubeadmTree {
  readonly csrs: string;
  readonly signed: string;
}

export async function externalTree(
  context: TestContext,
  model: KubeadmTree,
): Promise<ExternalTree> {
  return withoutCaKeys(await copyOf(context, model));
}

/** Deletes the keys of the CAs of this tree. */
export async function withoutCaKeys(tree: KubeadmTree): Promise<ExternalTree> {
  for (const name of authorityNames) await rm(keyFileOf(authorityFile(name, tree)));
  const signed = join(tree.kubernetes, '../../signed');
  await mkdir(signed);
  return { ...tree, csrs: join(tree.kubernetes, '../../csrs'), signed };
}

export async function exportFor(
  tree: ExternalTree,
  selection: Selection = 'all',
  key?: KeyAlgorithm,
): Promise<PlannedRequest[]> {
  const options = { selection, hostName: 'cp1', folder: tree.csrs, ...(key && { key }) };
  return exportRequests(requestFor(tree), options);
}

export async function importInto(
  tree: ExternalTree,
  request: RenewalRequest = requestFor(tree),
): Promise<RenewalResult> {
  const options = { ...optionsFor(), importFrom: tree.signed, endpoints: [] };
  return (await renew(request, { ...options, describe: () => ({}) })).result;
}

export async function planOf(
  tree: ExternalTree,
  request: RenewalRequest = requestFor(tree),
): Promise<readonly PlannedCertificate[]> {
  return (await previewRenewal(request, { ...optionsFor(), importFrom: tree.signed })).certificates;
}

/** As an administrator signs, with the extensions that the CSR requests. */
export function sign(csr: string, ca: OpensslPair, days = 365): string {
  return inFolder((at) => {
    writeFileSync(at('ca.crt'), ca.certificate);
    writeFileSync(at('ca.key'), ca.key);
    const signer = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial'];
    const options = ['-days', String(days), '-copy_extensions', 'copy'];
    return openssl(['x509', '-req', '-in', csr, ...signer, ...options]);
  });
}

/** As `openssl ca` signs, with a policy that puts CN before O. */
export function signWithOpensslCa(csr: string, ca: OpensslPair): string {
  return inFolder((at) => {
    writeFileSync(at('ca.crt'), ca.certificate);
    writeFileSync(at('ca.key'), ca.key);
    writeFileSync(at('index'), '');
    writeFileSync(at('cnf'), opensslCa(at('.')));
    const signer = ['-config', at('cnf'), '-cert', at('ca.crt'), '-keyfile', at('ca.key')];
    openssl(['ca', '-batch', '-notext', ...signer, '-days', '365', '-in', csr, '-out', at('crt')]);
    return readFileSync(at('crt'), 'utf8');
  });
}

function opensslCa(folder: string): string {
  return `[ca]
default_ca = node
[node]
database = ${folder}/index
new_certs_dir = ${folder}
rand_serial = yes
default_md = sha256
copy_extensions = copy
policy = names
[names]
commonName = supplied
organizationName = optional
`;
}

function inFolder(work: (at: (name: string) => string) => string): string {
  const folder = mkdtempSync(join(tmpdir(), 'nodecertd-external-'));
  try {
    return work((name) => join(folder, name));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Signs the CSRs of these certificates, each with its CA. */
export async function signAll(
  { authorities, csrs, signed }: ExternalTree,
  names: readonly string[] = kubeadmCertificates.map(({ name }) => name),
): Promise<void> {
  for (const { name, authority } of kubeadmCertificates) {
    if (!names.includes(name)) continue;
    const certificate = sign(join(csrs, `${name}.csr`), authorities[authority]);
    await writeFile(join(signed, `${name}.crt`), certificate);
  }
}

export function intermediateOf(
  { authorities }: { readonly authorities: Readonly<Record<AuthorityName, OpensslPair>> },
  extensions: readonly string[] = caExtensions,
  days = 3000,
): OpensslPair {
  return issueWithOpenssl({
    subject: '/CN=intermediate',
    extensions,
    days,
    signer: authorities.ca,
  });
}

export async function existing(tree: KubeadmTree, name: string): Promise<ChainCertificate> {
  const entry = kubeadmCertificates.find((known) => known.name === name);
  assert.ok(entry !== undefined);
  const found = await readExisting(entry, requestFor(tree));
  assert.ok(found !== undefined);
  return found.leaf;
}

export function pendingFolder({ kubernetes }: KubeadmTree): string {
  return join(kubernetes, '.nodecertd/pending');
}

export function pendingKey(tree: KubeadmTree, name: string): string {
  return join(pendingFolder(tree), `${name}.key`);
}

export async function filesOf({ kubernetes }: KubeadmTree): ReturnType<typeof snapshot> {
  return snapshot(kubernetes, '/.nodecertd');
}
