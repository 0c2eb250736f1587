import { AgentError } from '../../core/errors.ts';
import { keyFileOf } from '../../pki/layout.ts';
import { readKeyFile } from '../../pki/renewal/key-file.ts';
import type { CaFile, RolloverNode } from './node-files.ts';
import { caPath, certificatesAt } from './node-files.ts';

/**
 * The pair with which kube-controller-manager signs: exactly one certificate, and its key. A process
 * that does not lead reads the pair only later, so its health proves nothing.
 * @throws AgentError CERT_KEY_MISMATCH
 */
export async function requireSigningPair(node: RolloverNode, file: CaFile): Promise<void> {
  const path = caPath(node, file);
  const key = await node.tree.locate(keyFileOf(path));
  const found = (await certificatesAt(node.tree, path)) ?? [];
  const [only] = found;
  const object = await readKeyFile(key.physical);
  const matches = object !== undefined && only?.openssl.checkPrivateKey(object) === true;
  if (matches && found.length === 1) return;
  const what = matches ? `has ${found.length} certificates` : `does not match ${key.path}`;
  throw new AgentError(
    'CERT_KEY_MISMATCH',
    `${path}, with which kube-controller-manager signs, ${what}`,
    { remedy: 'Run this command again' },
  );
}
