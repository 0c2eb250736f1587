import { X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { encodePem, parsePem } from '../core/pem.ts';
import { bootstrapTokenId, jwtExpiry } from '../kube/bootstrap-token.ts';
import type { ClusterAccess } from '../kube/cluster-access.ts';
import { credentialValidity } from '../kube/credential-validity.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import type { KubeconfigUser } from '../kube/kubeconfig-user.ts';
import { readKubeconfigUser } from '../kube/kubeconfig-user.ts';
import { NodeKubeconfig } from '../store/node-kubeconfig.ts';
import type { Clock } from '../sys/clock.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { Secret } from '../core/secret.ts';
import { tlsContext } from '../kube/tls-context.ts';
import { Tree } from '../sys/tree.ts';
import { unlessMissing } from '../sys/file-error.ts';

/** The facts about a kubeconfig and its credential, without secrets. */
export type KubeconfigState =
  | { readonly kind: 'missing'; readonly path: string }
  | { readonly kind: 'invalid'; readonly path: string; readonly failure: Failure }
  | LoadedKubeconfig;

export interface LoadedKubeconfig {
  readonly kind: 'loaded';
  readonly path: string;
  readonly mode: number;
  readonly server: string;
  readonly insecure: boolean;
  readonly user: KubeconfigUser;
  /** Certificate and key resolve through the `-current.pem` link. */
  readonly followsPair: boolean;
  /** Expiry of the client certificate; absent without a certificate. */
  readonly certificateExpiry?: Instant;
  readonly token?: TokenFacts;
  /** Why the agent refuses to replace the file after a bootstrap; absent if it does not refuse. */
  readonly refusal?: Failure;
  /** The cluster CA that expires last; absent if the kubeconfig uses the system's CAs. */
  readonly authority?: { readonly notBefore: Instant; readonly notAfter: Instant };
}

export type TokenFacts =
  | { readonly kind: 'bootstrap'; readonly id: string }
  /** A JSON web token; `expiry` is its exp claim. */
  | { readonly kind: 'other'; readonly expiry?: Instant };

/** @param pairLink the `-current.pem` link of the client certificate, if the agent manages one */
export async function inspectKubeconfig(
  path: string,
  pairLink: string | undefined,
): Promise<KubeconfigState> {
  const file = await unlessMissing(() => stat(path));
  if (file === undefined) return { kind: 'missing', path };
  try {
    const user = await readKubeconfigUser(path);
    using access = await loadKubeconfig(path);
    tlsContext(access);
    return {
      kind: 'loaded',
      path,
      mode: file.mode & 0o7777,
      server: access.cluster.server,
      insecure: access.cluster.insecureSkipTlsVerify,
      user,
      followsPair: pairLink !== undefined && (await followsLink(user, pairLink)),
      ...(await expiries(access)),
    };
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    return { kind: 'invalid', path, failure: toFailure(error) };
  }
}

/** Like inspectKubeconfig(), with the reaction of the agent to an unusable file. */
export async function inspectNodeKubeconfig(
  config: AgentConfig,
  { pairLink, clock }: { readonly pairLink: string | undefined; readonly clock: Clock },
): Promise<KubeconfigState> {
  const { kubeconfig: path, bootstrapKubeconfig } = config;
  const state = await inspectKubeconfig(path, pairLink);
  if (pairLink === undefined || state.kind === 'missing') return state;
  if (state.kind === 'invalid' && state.failure.code === 'KUBECONFIG_UNSUPPORTED') return state;
  const file = new NodeKubeconfig({ config, certificatePath: pairLink, clock });
  const clusters = await clusterOf(bootstrapKubeconfig);
  const refusal = await refusalOf(() => file.requireReplaceable(clusters));
  if (state.kind === 'loaded') return refusal === undefined ? state : { ...state, refusal };
  if (refusal !== undefined) return { ...state, failure: refusal };
  const found = await file.inspect(clusters);
  if (found.kind !== 'corrupt') return state;
  const { code, remedy = '' } = state.failure;
  const message = `kubeconfig ${path} ${found.reason}`;
  const canRecover = await file.canRecover(clusters);
  const start =
    'Start the agent, which writes the file again if its certificate is valid: systemctl start nodecertd';
  return { ...state, failure: { code, message, remedy: canRecover ? start : remedy } };
}

async function clusterOf(path: string | undefined): Promise<ClusterAccess['cluster'][]> {
  if (path === undefined) return [];
  const access = await loadKubeconfig(path).catch(() => undefined);
  access?.[Symbol.dispose]();
  return access === undefined ? [] : [access.cluster];
}

async function refusalOf(check: () => Promise<void>): Promise<Failure | undefined> {
  try {
    await check();
    return undefined;
  } catch (error) {
    return toFailure(error);
  }
}

async function expiries(
  access: ClusterAccess,
): Promise<Pick<LoadedKubeconfig, 'certificateExpiry' | 'token' | 'authority'>> {
  const certificateExpiry = credentialValidity(access)?.notAfter;
  const authority = access.cluster.certificateAuthority;
  const token = await tokenFacts(access);
  const last = authority === undefined ? undefined : lastOf(authority.pem);
  return {
    ...(certificateExpiry !== undefined && { certificateExpiry }),
    ...(token !== undefined && { token }),
    ...(last !== undefined && { authority: last }),
  };
}

async function tokenFacts({ credential }: ClusterAccess): Promise<TokenFacts | undefined> {
  const { tokenFile } = credential;
  const read = tokenFile === undefined ? undefined : await readToken(tokenFile);
  const token = read ?? credential.token;
  if (token === undefined) return undefined;
  const id = bootstrapTokenId(token);
  const expiry = jwtExpiry(token);
  read?.wipe();
  if (id !== undefined) return { kind: 'bootstrap', id };
  return { kind: 'other', ...(expiry !== undefined && { expiry }) };
}

async function readToken(file: string): Promise<Secret> {
  try {
    return new Secret(await readSmallFile(file, 64 * 1024));
  } catch (error) {
    throw new AgentError('KUBECONFIG_INVALID', `cannot read the token file ${file}`, {
      cause: error,
      remedy: `Write a token to ${file}, and make the file readable for the user of the agent`,
    });
  }
}

/** The latest, because a bundle may contain an expired CA beside the new one. */
function lastOf(pem: Uint8Array<ArrayBuffer>): LoadedKubeconfig['authority'] {
  const [last] = parsePem(pem)
    .map(({ label, der }) => new X509Certificate(encodePem(label, der)))
    .map(({ validFromDate, validToDate }) => ({
      notBefore: validFromDate.getTime(),
      notAfter: validToDate.getTime(),
    }))
    .sort((a, b) => b.notAfter - a.notAfter);
  return last;
}

/**
 * True if both certificate and key resolve through the link. A rotated certificate does not
 * match an old key, and a path to the current target keeps the old file when the link moves.
 */
export async function followsLink(
  { embedsCertificate, certificateFile, keyFile }: KubeconfigUser,
  link: string,
  tree = new Tree('/'),
): Promise<boolean> {
  if (embedsCertificate || certificateFile === undefined || keyFile === undefined) return false;
  const ends = [certificateFile, keyFile].map((file) => tree.leadsThrough(file, link));
  return (await Promise.all(ends)).every(Boolean);
}
