import * as v from 'valibot';
import { parse } from 'yaml';
import type { Instant } from '../core/instant.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import { withoutSecrets } from '../core/printable.ts';
import { Secret } from '../core/secret.ts';
import type { ClientCertificate, ClusterEndpoint, ExecPlugin } from './cluster-access.ts';

/** The credential from an exec plugin: a token, a client certificate, or both. Disposal wipes the secrets. */
export interface PluginCredential extends Disposable {
  readonly token?: Secret;
  readonly clientCertificate?: ClientCertificate;
  /** If absent, the credential is valid until the API server rejects it. */
  readonly expiry?: Instant;
}

export type ExecResult =
  | { readonly kind: 'credential'; readonly credential: PluginCredential }
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'other-version'; readonly found: string };

/** Enough for a token, and for a certificate with a long chain. */
export const outputLimit = 256 * 1024;

/** The value of KUBERNETES_EXEC_INFO, as client-go encodes it (pkg/apis/clientauthentication). */
export function execInfo(plugin: ExecPlugin, cluster: ClusterEndpoint): string {
  return JSON.stringify({
    kind: 'ExecCredential',
    apiVersion: plugin.apiVersion,
    spec: {
      ...(plugin.provideClusterInfo && { cluster: clusterInfo(plugin, cluster) }),
      interactive: false,
    },
  });
}

function clusterInfo({ clusterConfig }: ExecPlugin, cluster: ClusterEndpoint): object {
  const { server, tlsServerName, insecureSkipTlsVerify, certificateAuthority, proxyUrl } = cluster;
  return {
    server,
    ...(tlsServerName !== undefined && { 'tls-server-name': tlsServerName }),
    ...(insecureSkipTlsVerify && { 'insecure-skip-tls-verify': true }),
    ...(certificateAuthority !== undefined && {
      'certificate-authority-data': certificateAuthority.pem.toBase64(),
    }),
    ...(proxyUrl !== undefined && { 'proxy-url': proxyUrl }),
    config: clusterConfig ?? null,
  };
}

const text = v.nullish(v.string());
const envelopeSchema = v.object({ kind: v.literal('ExecCredential'), apiVersion: v.string() });
const credentialSchema = v.object({
  status: v.object({
    token: v.nullish(
      v.pipe(v.string(), v.regex(/^[\x21-\x7e]*$/, 'printable ASCII without spaces')),
    ),
    clientCertificateData: text,
    clientKeyData: text,
    expirationTimestamp: v.nullish(v.pipe(v.string(), v.check(isTimestamp, 'an RFC 3339 time'))),
  }),
});

function isTimestamp(value: string): boolean {
  return /^\d{4}-\d\d-\d\dT\S+$/i.test(value) && !Number.isNaN(Date.parse(value));
}

/** Parses the standard output of a plugin: an ExecCredential in JSON or, as in client-go, in YAML. */
export function parseExecCredential(output: string, apiVersion: string): ExecResult {
  const value = parseText(output);
  if (value === undefined) return malformed('the output is neither JSON nor YAML');
  const envelope = v.safeParse(envelopeSchema, value);
  if (!envelope.success) return malformed(issueText(envelope.issues[0]));
  const found = envelope.output.apiVersion;
  if (found !== apiVersion) return { kind: 'other-version', found: withoutSecrets(found, 80) };
  const result = v.safeParse(credentialSchema, value);
  if (!result.success) return malformed(issueText(result.issues[0]));
  return credentialOf(result.output.status);
}

function parseText(output: string): unknown {
  try {
    return parse(output, { logLevel: 'error' }) ?? undefined;
  } catch {
    // The result omits the error of the parser, which quotes the text and so perhaps the token.
    return undefined;
  }
}

/** Omits the value of the field, which may be a secret. */
function issueText(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? 'the document';
  if (issue.input === undefined) return `${path} is missing`;
  const isType = issue.kind === 'schema';
  return `${path} must be ${isType ? issue.expected : issue.message}`;
}

function credentialOf(status: v.InferOutput<typeof credentialSchema>['status']): ExecResult {
  const { token, clientCertificateData: certificate, clientKeyData: key } = status;
  if (!token && !certificate && !key)
    return malformed('the output has neither a token nor a certificate');
  if (!certificate !== !key) {
    const [given, missing] = certificate ? ['Certificate', 'Key'] : ['Key', 'Certificate'];
    return malformed(`the output has client${given}Data but no client${missing}Data`);
  }
  const pem = certificate ? certificatesOf(certificate) : undefined;
  if (certificate && pem === undefined)
    return malformed('clientCertificateData is not a certificate in PEM');
  const secrets = [token, key].map((value) =>
    value ? new Secret(new TextEncoder().encode(value)) : undefined,
  );
  const [tokenSecret, keySecret] = secrets;
  const expiry = status.expirationTimestamp;
  return {
    kind: 'credential',
    credential: {
      ...(tokenSecret !== undefined && { token: tokenSecret }),
      ...(pem !== undefined &&
        keySecret !== undefined && { clientCertificate: { pem, key: keySecret } }),
      ...(expiry && { expiry: Date.parse(expiry) }),
      [Symbol.dispose]: () => {
        for (const secret of secrets) secret?.wipe();
      },
    },
  };
}

function certificatesOf(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const blocks = parsePem(new TextEncoder().encode(text));
    const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
    if (certificates.length === 0) return undefined;
    return new Uint8Array(
      Buffer.concat(certificates.map(({ label, der }) => encodePem(label, der))),
    );
  } catch {
    return undefined;
  }
}

function malformed(reason: string): ExecResult {
  return { kind: 'malformed', reason };
}
