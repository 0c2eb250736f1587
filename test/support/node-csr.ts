import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { webcrypto, x509 } from '../../src/core/x509.ts';
import type { ApiClient } from './api-client.ts';
import type { KeyPair } from './cluster-pki.ts';
import { csrPath, newCsr } from './real-csr.ts';

export interface NodeCsr {
  readonly name: string;
  readonly nodeName: string;
  readonly usage: 'client auth' | 'server auth';
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Creates a CSR as a kubelet does, with a new key. The address in a serving CSR is 192.0.2.1. */
export async function submitNodeCsr(
  requestor: ApiClient,
  { name, nodeName, usage }: NodeCsr,
): Promise<Pick<KeyPair, 'keyPem'>> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const isServing = usage === 'server auth';
  const addresses = [{ type: 'ip', value: '192.0.2.1' } as const];
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: `O=system:nodes,CN=system:node:${nodeName}`,
      keys,
      signingAlgorithm: algorithm,
      extensions: isServing ? [new x509.SubjectAlternativeNameExtension(addresses)] : [],
    },
    webcrypto,
  );
  await requestor.must({
    method: 'POST',
    path: csrPath(),
    body: newCsr({
      name,
      request: request.toString('pem'),
      signerName: isServing ? kubeletServingSigner : kubeletClientSigner,
      usages: ['digital signature', usage],
    }),
  });
  const der = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { keyPem: x509.PemConverter.encode(der, 'PRIVATE KEY') };
}
