import type { CertificateSpec } from '../core/certificate-spec.ts';
import { keyParameters } from '../core/csr.ts';
import { day, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { encodePem } from '../core/pem.ts';
import type { Secret } from '../core/secret.ts';
import { usageExtensions, x509 } from '../core/x509.ts';
import { generatePrivateKey, pairPem } from './private-key.ts';

/**
 * A temporary self-signed certificate with its key, so that a server can start before the
 * cluster has issued one. Has the format of the kubelet's own: CN `<host>@<unix seconds>`, valid
 * for a year, with the host's name and addresses as SANs. The caller wipes the result.
 */
export async function selfSignedPair(options: {
  readonly spec: CertificateSpec;
  readonly hostName: string;
  readonly ipAddresses: readonly string[];
  readonly now: Instant;
}): Promise<Secret> {
  const { spec, hostName, ipAddresses, now } = options;
  using key = await generatePrivateKey(spec.key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: [{ CN: [`${hostName}@${Math.floor(now / second)}`] }],
      notBefore: new Date(now - (now % second)),
      notAfter: new Date(now - (now % second) + 365 * day),
      keys: key.pair,
      signingAlgorithm: keyParameters[spec.key].sign,
      extensions: [
        ...usageExtensions(spec.usages),
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: hostName },
          ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
        ]),
      ],
    },
    key.pair.provider,
  );
  const pem = encodePem('CERTIFICATE', new Uint8Array(certificate.rawData));
  return pairPem(pem, key);
}
