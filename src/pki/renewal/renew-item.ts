import { AgentError } from '../../core/errors.ts';
import { concat, encodeCertificates } from '../../core/pem.ts';
import type { Secret } from '../../core/secret.ts';
import { withEmbedded } from '../../kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import type { FileContent } from '../../store/file-content.ts';
import type { BackedUpChange } from '../../store/run-folder.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { readCertificate } from './certificate-chain.ts';
import type { Target } from './existing-certificate.ts';
import { textOf } from './existing-certificate.ts';
import { exportKey, generateKey } from './key-file.ts';
import { changeOf } from './planned-file.ts';
import { requireEquivalent } from './proof.ts';
import { reissue } from './reissue.ts';
import type { IssuedItem, RenewalItem } from './renewal-item.ts';

/** The new content of each file of an item, in the order in which they are replaced. */
export interface RenewedFiles extends Disposable {
  readonly changes: readonly (BackedUpChange & { readonly after: FileContent })[];
  readonly certificate: ChainCertificate;
}

/**
 * The new key and certificate in the form of the files that they replace. Disposing the result
 * wipes the new and the previous key.
 * @throws AgentError INTERNAL, KEY_UNSUPPORTED
 */
export async function createRenewal(item: RenewalItem): Promise<RenewedFiles> {
  const { previousForm, entry } = item;
  const { key, certificate } = item.issued ?? (await issue(item));
  const chain = encodeCertificates([certificate, ...item.chain]);
  using pem = exportKey(key, previousForm);
  const changes = newContents(item.target, chain, pem).map((change) => ({
    ...change,
    item: entry.name,
  }));
  return {
    changes,
    certificate,
    [Symbol.dispose]: () => {
      for (const { before, after } of changes) {
        before?.bytes.fill(0);
        after.bytes.fill(0);
      }
    },
  };
}

/** Creates a key and a certificate, and compares the certificate with the previous one. */
async function issue({
  leaf,
  signer,
  validity,
  key: kind,
}: RenewalItem): Promise<Pick<IssuedItem, 'key' | 'certificate'>> {
  if (signer.kind === 'external') throw new AgentError('INTERNAL', 'the CA has no key here');
  const key = await generateKey(kind);
  const request = { leaf, signer, key, ...validity };
  const certificate = await readCertificate(reissue(request));
  requireEquivalent(certificate, request);
  return { key, certificate };
}

/**
 * The certificate is first. The components of Kubernetes read the certificate and then the key
 * (Go, crypto/tls LoadX509KeyPair). In this order, the time in which such a reader gets files that
 * do not match is the difference between its pause and the pause of the renames, not their sum.
 */
function newContents(
  target: Target,
  certificate: Uint8Array,
  key: Secret,
): (BackedUpChange & { readonly after: FileContent })[] {
  switch (target.kind) {
    case 'pair':
      if (target.key.path === target.certificate.path) {
        return [changeOf(target.key, concat([certificate, key.expose()]), '0600')];
      }
      return [
        changeOf(target.certificate, new Uint8Array(certificate), '0644'),
        changeOf(target.key, key.expose().slice(), '0600'),
      ];
    case 'kubeconfig': {
      const { path, before } = target.kubeconfig;
      const text = textOf(path, before);
      const { authority } = target;
      const replacement = { certificate, key, ...(authority && { authority }) };
      const after = withEmbedded(new KubeconfigDocument(path, text), text, replacement);
      return [changeOf(target.kubeconfig, after.expose(), '0600')];
    }
    default:
      return target satisfies never;
  }
}
