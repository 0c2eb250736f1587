import * as v from 'valibot';
import type { KubeClient } from './rest-client.ts';

/** May I … ? The fields of ResourceAttributes in authorization.k8s.io/v1. */
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
 * Asks the API server whether the client may do something, without doing it: a
 * SelfSubjectAccessReview, which every authenticated user may make (system:basic-user).
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

/** Who the API server takes the client for. */
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

/** A SelfSubjectReview, as `kubectl auth whoami` makes; in v1 since Kubernetes 1.28. @throws AgentError as KubeClient.request */
export async function whoAmI(
  client: Pick<KubeClient, 'request'>,
  signal: AbortSignal,
): Promise<ApiIdentity> {
  return client.request(
    {
      verb: 'create',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
      signal,
    },
    identitySchema,
  );
}
