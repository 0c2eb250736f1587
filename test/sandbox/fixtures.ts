import assert from 'node:assert/strict';
import { kubeletClientSigner } from '../../src/core/certificate-spec.ts';
import type { KeyAlgorithm } from '../../src/core/certificate-spec.ts';
import { second } from '../../src/core/instant.ts';
import { usageExtensions, webcrypto, x509 } from '../../src/core/x509.ts';
import { createCsr, keyParameters } from '../../src/core/csr.ts';
import type { CsrObject } from './api-object.ts';
import type { Sandbox, SandboxOptions } from './sandbox.ts';
import { startSandbox } from './sandbox.ts';
import { parse } from 'yaml';
import { ApiClient } from '../support/api-client.ts';
import type { ApiRequest } from '../support/api-client.ts';
import { FakeClock } from '../support/fake-clock.ts';

export const csrsPath = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
export const nodesPath = '/api/v1/nodes';
export const token = 'abcdef.0123456789abcdef';

export interface Asked {
  readonly commonName?: string;
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly key?: KeyAlgorithm;
}

export interface KeyedRequest {
  /** PKCS #10 as PEM. */
  readonly pem: string;
  readonly keyPem: string;
}

export async function makeRequest(asked: Asked = {}): Promise<KeyedRequest> {
  const key = asked.key ?? 'ecdsa-p256';
  const keys = (await webcrypto.subtle.generateKey(keyParameters[key].generate, true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair;
  const der = await createCsr(
    {
      signerName: kubeletClientSigner,
      subject: {
        commonName: asked.commonName ?? 'system:node:worker-1',
        organizations: asked.organizations ?? ['system:nodes'],
      },
      dnsNames: asked.dnsNames ?? [],
      ipAddresses: asked.ipAddresses ?? [],
      usages: [],
      key,
    },
    keys,
  );
  return { pem: pem('CERTIFICATE REQUEST', der), keyPem: await keyPem(keys.privateKey) };
}

/** The body of a POST. `spec` overrides fields. */
export function csrBody(
  name: string,
  request: string,
  spec: Readonly<Record<string, unknown>> = {},
): object {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name },
    spec: {
      request: Buffer.from(request).toString('base64'),
      signerName: kubeletClientSigner,
      usages: ['digital signature', 'client auth'],
      ...spec,
    },
  };
}

export const servingSpec = {
  signerName: 'kubernetes.io/kubelet-serving',
  usages: ['digital signature', 'server auth'],
};

export interface Running extends AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly clock: FakeClock;
  readonly admin: ApiClient;
  readonly bootstrapper: ApiClient;
  /** Returns a client with other credentials, which is closed with the sandbox. */
  connect(credential?: Credential): ApiClient;
  /** Returns a client with a certificate of this node, which the sandbox issues. */
  connectNode(name: string): Promise<ApiClient>;
}

export interface Credential {
  readonly token?: string;
  readonly certificatePem?: string;
  readonly keyPem?: string;
}

/**
 * Starts a sandbox on a fake clock. The clock starts at the present time, because TLS
 * uses the machine's clock. An internal error fails the test.
 */
export async function run(options: Partial<SandboxOptions> = {}): Promise<Running> {
  const clock = new FakeClock(Math.floor(Date.now() / second) * second);
  const internal: unknown[] = [];
  const sandbox = await startSandbox({
    clock,
    bootstrapToken: token,
    onInternalError: (error) => internal.push(error),
    ...options,
  });
  const { server, caPem } = sandbox;
  const clients: ApiClient[] = [];
  const connect = (credential: Credential = {}): ApiClient => {
    const client = new ApiClient({ server, caPem, ...credential });
    clients.push(client);
    return client;
  };
  const bootstrapper = connect({ token });
  return {
    sandbox,
    clock,
    connect,
    bootstrapper,
    admin: connect(adminCredential(sandbox)),
    connectNode: async (name) => connect(await nodeCredential(bootstrapper, name)),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
      await sandbox[Symbol.asyncDispose]();
      if (internal.length > 0) throw new AggregateError(internal, 'internal errors');
    },
  };
}

export function adminCredential(sandbox: Sandbox): Credential {
  const { users } = parse(sandbox.adminKubeconfig()) as {
    users: { user: Record<string, string> }[];
  };
  const field = (name: string): string =>
    Buffer.from(users[0]?.user[name] ?? '', 'base64').toString();
  return {
    certificatePem: field('client-certificate-data'),
    keyPem: field('client-key-data'),
  };
}

/** Requests a client certificate for a node, as a bootstrapping kubelet does. */
export async function nodeCredential(client: ApiClient, name: string): Promise<Credential> {
  const request = await makeRequest({ commonName: `system:node:${name}` });
  const csr = `for-${name}-${request.pem.length}-${counter()}`;
  await client.must({ method: 'POST', path: csrsPath, body: csrBody(csr, request.pem) });
  const issued = await waitFor(client, csr, (found) => found.status.certificate !== undefined);
  return { certificatePem: certificateOf(issued), keyPem: request.keyPem };
}

export function certificateOf(csr: CsrObject): string {
  return Buffer.from(csr.status.certificate ?? '', 'base64').toString();
}

/** Watches a CSR until it meets a condition. */
export async function waitFor(
  client: ApiClient,
  name: string,
  wanted: (csr: CsrObject) => boolean,
): Promise<CsrObject> {
  const stop = new AbortController();
  const path = `${csrsPath}?watch=true&fieldSelector=metadata.name%3D${name}`;
  try {
    for await (const event of client.watch(path, stop.signal)) {
      const { object } = event as { object: CsrObject };
      if (wanted(object)) return object;
    }
  } finally {
    stop.abort();
  }
  throw new Error(`the watch of ${name} ended`);
}

let counted = 0;
function counter(): number {
  counted += 1;
  return counted;
}

/** A self-signed client certificate from an untrusted CA. */
export async function foreignCredential(commonName: string): Promise<Credential> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: [{ O: ['system:masters'] }, { CN: [commonName] }],
      keys,
      signingAlgorithm: algorithm,
      extensions: usageExtensions(['digital signature', 'client auth']),
    },
    webcrypto,
  );
  return {
    certificatePem: pem('CERTIFICATE', new Uint8Array(certificate.rawData)),
    keyPem: await keyPem(keys.privateKey),
  };
}

async function keyPem(key: CryptoKey): Promise<string> {
  return pem('PRIVATE KEY', new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', key)));
}

export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The metav1.Status of a failed request. */
export interface StatusBody {
  readonly kind: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly code: number;
  readonly details?: { readonly causes?: readonly { readonly field: string }[] };
}

/** Returns the Status of a request that must fail. */
export async function refusal(client: ApiClient, asked: ApiRequest): Promise<StatusBody> {
  const { status, body } = await client.request(asked);
  const refused = body as StatusBody;
  assert.equal(refused.kind, 'Status');
  assert.equal(refused.status, 'Failure');
  assert.equal(refused.code, status);
  return refused;
}

export function base64(value: string): string {
  return Buffer.from(value).toString('base64');
}
