import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import type { AgentConfig } from '../../src/core/config.ts';
import type { EnrollerReport } from '../../src/core/enroller-protocol.ts';
import { day, minute } from '../../src/core/instant.ts';
import { encodePem } from '../../src/core/pem.ts';
import { usageExtensions, webcrypto, x509 } from '../../src/core/x509.ts';
import { ApiAccess } from '../../src/enroller/api-access.ts';
import type { ApiAccessOptions } from '../../src/enroller/api-access.ts';
import type { DiscoverCluster } from '../../src/enroller/cluster-discovery.ts';
import type { Sandbox, SandboxOptions } from '../sandbox/sandbox.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { agentConfig, until } from '../keeper/fixtures.ts';
import { clientTemplate } from '../core/fixtures.ts';

/** A node's directories, a sandbox, and the reports of everything done on the node. */
export class Bench implements AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly directory: string;
  readonly config: AgentConfig;
  readonly reports: EnrollerReport[] = [];
  /** Replace it in tests of `bootstrap.discovery`. */
  discover: DiscoverCluster = () => Promise.reject(new Error('unexpected discovery'));
  readonly report = (report: EnrollerReport): void => void this.reports.push(report);

  private constructor(sandbox: Sandbox, directory: string) {
    this.sandbox = sandbox;
    this.directory = directory;
    this.config = agentConfig(directory);
  }

  static async create(options: Partial<SandboxOptions> = {}): Promise<Bench> {
    const sandbox = await startSandbox({ clock: systemClock, ...options });
    const bench = new Bench(sandbox, await mkdtemp(join(tmpdir(), 'nodecertd-enroll-')));
    await mkdir(bench.config.certificateDirectory);
    await bench.writeBootstrap();
    return bench;
  }

  async writeBootstrap(text = this.sandbox.bootstrapKubeconfig()): Promise<void> {
    await writeFile(join(this.directory, 'bootstrap.conf'), text, { mode: 0o600 });
  }

  access(clientPair?: string, changes: Partial<ApiAccessOptions> = {}): ApiAccess {
    const { config, report, discover } = this;
    const options = { config, clientPair, report, discover, clock: systemClock, ...changes };
    return new ApiAccess({ ...options, version: 'test' });
  }

  all<T extends EnrollerReport['type']>(type: T): Extract<EnrollerReport, { type: T }>[] {
    return this.reports.filter(
      (report): report is Extract<EnrollerReport, { type: T }> => report.type === type,
    );
  }

  /** Waits for the n-th report of this type. */
  async first<T extends EnrollerReport['type']>(
    type: T,
    nth = 1,
  ): Promise<Extract<EnrollerReport, { type: T }>> {
    await until(`report ${nth} of ${type}`, () => this.all(type).length >= nth);
    const found = this.all(type)[nth - 1];
    if (found === undefined) throw new Error('unreachable');
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
  readonly pem: Uint8Array<ArrayBuffer>;
}

/** A root, or an intermediate of `issuer`. */
export async function authority(commonName: string, issuer?: Authority): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: '01',
      subject: `CN=${commonName}`,
      issuer: issuer?.certificate.subject ?? `CN=${commonName}`,
      notBefore: new Date(Date.now() - 5 * minute),
      notAfter: new Date(Date.now() + day),
      publicKey: keys.publicKey,
      signingKey: (issuer?.keys ?? keys).privateKey,
      signingAlgorithm: algorithm,
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    },
    webcrypto,
  );
  return { certificate, keys, pem: pemOf(certificate) };
}

/**
 * Issues a certificate as a signer does, by default exactly the requested one.
 * @param publicKey SubjectPublicKeyInfo in DER
 */
export async function issue(
  ca: Authority,
  publicKey: Uint8Array<ArrayBuffer>,
  changes: Partial<CertificateTemplate> & { notBefore?: number; notAfter?: number } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { notBefore = Date.now() - 5 * minute, notAfter = Date.now() + day, ...rest } = changes;
  const template = { ...clientTemplate, ...rest };
  const names = [
    ...template.dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...template.ipAddresses.map((value) => ({ type: 'ip' as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: '02',
      subject: new x509.Name([
        ...template.subject.organizations.map((value) => ({ O: [value] })),
        { CN: [template.subject.commonName] },
      ]).toString(),
      issuer: ca.certificate.subject,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKey: new x509.PublicKey(publicKey),
      signingKey: ca.keys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        ...usageExtensions(template.usages),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      ],
    },
    webcrypto,
  );
  return pemOf(certificate);
}

function pemOf(certificate: x509.X509Certificate): Uint8Array<ArrayBuffer> {
  return encodePem('CERTIFICATE', new Uint8Array(certificate.rawData));
}
