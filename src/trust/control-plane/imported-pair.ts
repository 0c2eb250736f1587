import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { encodeCertificates } from '../../core/pem.ts';
import type { ClientCertificate } from '../../kube/cluster-access.ts';
import { keyFileOf } from '../../pki/layout.ts';
import { requireAccepted } from '../../pki/renewal/chain-proof.ts';
import type { ExistingCertificate } from '../../pki/renewal/existing-certificate.ts';
import { readIssued } from '../../pki/renewal/import-plan.ts';
import type { IssuedChain } from '../../pki/renewal/issued-certificate.ts';
import { checkIssued } from '../../pki/renewal/issued-certificate.ts';
import { exportKey } from '../../pki/renewal/key-file.ts';
import { pendingKeyFile, readPendingKey } from '../../pki/renewal/pending-keys.ts';
import { directoryOf } from '../../pki/renewal/renewal.ts';
import { applyCommand } from './apply-command.ts';
import type { RolloverNode } from './node-files.ts';
import { caPath } from './node-files.ts';

/** A certificate from the new CA, whose key is elsewhere, for a pending key of this node. */
export interface ImportedPair extends IssuedChain {
  readonly key: KeyObject;
  readonly file: string;
}

/**
 * Reads the certificate that the new CA has issued for the CSR of `certs renew --csr-out`. The key of
 * the certificate has never left this node.
 * @param folder of the certificate
 * @throws AgentError PAIR_MALFORMED, CERT_* if it cannot replace the existing certificate; STORE_*
 */
export async function importedPair(
  node: RolloverNode,
  { entry: { name }, leaf }: Pick<ExistingCertificate, 'entry' | 'leaf'>,
  { folder, now }: { readonly folder: string; readonly now: Instant },
): Promise<ImportedPair> {
  const directory = directoryOf(node);
  const key = await readPendingKey(directory, name);
  if (key === undefined) {
    const message = `${pendingKeyFile(directory, name)} does not exist, so no CSR is pending`;
    throw new AgentError('PAIR_MALFORMED', message, { remedy: howToImport(node, name) });
  }
  const file = join(folder, `${name}.crt`);
  const path = caPath(node, 'next');
  const certificates = [node.next.certificate];
  const authority = {
    path,
    pem: encodeCertificates(certificates),
    certificates,
    keyPath: keyFileOf(path),
  };
  const issued = checkIssued({
    certificates: await readIssued(file),
    file,
    key,
    existing: leaf,
    authority,
    now,
  });
  await requireAccepted({ ...issued, key, authority, file });
  return { ...issued, key, file };
}

/** How this node gets a certificate from a CA whose key is elsewhere. */
export function howToImport({ ca }: Pick<RolloverNode, 'ca'>, name: string): string {
  return `Create a CSR: nodecertd certs renew ${name} --csr-out DIR; sign DIR/${name}.csr with the new CA as DIR/${name}.crt, for example with openssl x509 -req -copy_extensions copy; then run: ${applyCommand('switch', ca)} --import DIR`;
}

/** The pair as a client uses it. The caller disposes it. */
export function asClient({
  certificate,
  chain,
  key,
}: Pick<ImportedPair, 'certificate' | 'chain' | 'key'>): ClientCertificate & Disposable {
  const secret = exportKey(key);
  const pem = encodeCertificates([certificate, ...chain]);
  return { pem, key: secret, [Symbol.dispose]: () => secret.wipe() };
}
