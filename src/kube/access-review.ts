import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import { anonymousError, anonymousUser, userInMessage } from './api-user.ts';
import type { KubeClient } from './rest-client.ts';

/** The fields of ResourceAttributes in authorization.k8s.io/v1. */
export interface AccessQuestion {
  readonly verb: string;
  /** Empty for the core group. */
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  readonly namespace?: string;
}

const reviewSchema = v.object({ status: v.object({ allowed: v.nullish(v.boolean(), false) }) });

/**
 * Checks whether the API server authorizes a request of this client, without sending that
 * request. Every authenticated user may create a SelfSubjectAccessReview (system:basic-user).
 * @throws AgentError as KubeClient.request
 */
export async function mayI(
  client: Pick<KubeClient, 'request'>,
  question: AccessQuestion,
  signal: AbortSignal,
): Promise<boolean> {
  const { status } = await client.request(
    {
      verb: 'create',
      path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: question },
      },
      signal,
    },
    reviewSchema,
  );
  return status.allowed;
}

/** The user that the API server authenticates the client as. */
export interface ApiIdentity {
  readonly username: string;
  readonly groups: readonly string[];
}

const identitySchema = v.pipe(
  v.object({
    status: v.object({
      userInfo: v.object({ username: v.string(), groups: v.nullish(v.array(v.string()), []) }),
    }),
  }),
  v.transform(({ status }): ApiIdentity => status.userInfo),
);

type Client = Pick<KubeClient, 'access' | 'request'>;

/**
 * Requests the user that the API server authenticates the client as, with a
 * SelfSubjectReview (`kubectl auth whoami`). If the server lacks that resource, a request
 * for /version checks the credential, and the result is 'unknown'.
 * @throws AgentError API_UNAUTHORIZED, API_ANONYMOUS when the server receives no credential,
 *   API_BAD_RESPONSE when the server is not an API server, else as KubeClient.request
 */
export async function whoAmI(
  client: Client,
  signal: AbortSignal,
): Promise<ApiIdentity | 'unknown'> {
  const identity =
    (await review(client, 'v1', signal)) ?? (await reviewOfOldServer(client, signal));
  if (identity === undefined) return 'unknown';
  if (identity.username !== anonymousUser) return identity;
  throw anonymousError('create SelfSubjectReview', client.access);
}

/** Kubernetes before 1.28 has the resource in alpha and beta only, and few servers enable it. */
async function reviewOfOldServer(
  client: Client,
  signal: AbortSignal,
): Promise<ApiIdentity | undefined> {
  await requireApiServer(client, signal);
  return (await review(client, 'v1beta1', signal)) ?? (await review(client, 'v1alpha1', signal));
}

/** Undefined when the server lacks the resource: an API server then returns a 404 in plain text, like any web server. */
async function review(
  client: Client,
  version: string,
  signal: AbortSignal,
): Promise<ApiIdentity | undefined> {
  const apiVersion = `authentication.k8s.io/${version}`;
  const path = `/apis/${apiVersion}/selfsubjectreviews`;
  const body = { apiVersion, kind: 'SelfSubjectReview' };
  try {
    return await client.request({ verb: 'create', path, body, signal }, identitySchema);
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND', 'API_BAD_RESPONSE')) return undefined;
    const username = hasCode(error, 'API_FORBIDDEN') ? userInMessage(error.message) : undefined;
    if (username !== undefined) return { username, groups: [] };
    throw error;
  }
}

const versionSchema = v.object({ gitVersion: v.string() });

/** Every API server serves /version, also to anonymous users unless an administrator forbids it. */
async function requireApiServer(client: Client, signal: AbortSignal): Promise<void> {
  try {
    await client.request({ verb: 'get', path: '/version', signal }, versionSchema);
  } catch (error) {
    if (!hasCode(error, 'API_FORBIDDEN')) throw error;
  }
}
