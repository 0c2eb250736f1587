import type { Instant } from '../../src/core/instant.ts';
import { formatInstant } from '../../src/core/instant.ts';
import { ApiClient } from './api-client.ts';

/** Sets up what kubeadm sets up for joining nodes: a token, and its rights. */
export const bootstrapToken = 'test01.0123456789abcdef';

export interface BootstrapOptions {
  readonly server: string;
  readonly caPem: string;
  readonly signal: AbortSignal;
}

/** Settles when the token can create CSRs. */
export async function allowBootstrap(
  admin: ApiClient,
  { server, caPem, signal }: BootstrapOptions,
): Promise<void> {
  await Promise.all([
    ...bindings.map(async (binding) => bind(admin, binding)),
    // The server creates the namespace in the background, so the first requests may
    // fail.
    admin.eventually(
      { method: 'POST', path: tokenPath(), body: tokenObject(bootstrapToken) },
      signal,
    ),
  ]);
  await using bearer = new ApiClient({ server, caPem, token: bootstrapToken });
  await bearer.eventually(
    {
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    },
    signal,
  );
}

const bindingsPath = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';

interface Binding {
  readonly name: string;
  readonly role: string;
  readonly group: string;
}

async function bind(admin: ApiClient, { name, role, group }: Binding): Promise<void> {
  await admin.must({
    method: 'POST',
    path: bindingsPath,
    body: {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: group }],
    },
  });
}

/** The binding for the automatic approval of renewed client certificates. */
export async function bindRenewal(admin: ApiClient): Promise<void> {
  await bind(admin, renewal);
}

export async function unbindRenewal(admin: ApiClient): Promise<void> {
  await admin.must({ method: 'DELETE', path: `${bindingsPath}/${renewal.name}` });
}

export interface TokenOptions {
  /** Both by default. */
  readonly usages?: readonly ('authentication' | 'signing')[];
  readonly expiresAt?: Instant;
}

/** The Secret of a bootstrap token. */
export function tokenObject(
  token: string,
  { usages = ['authentication', 'signing'], expiresAt }: TokenOptions = {},
): object {
  const [id, secret] = token.split('.');
  return {
    metadata: { name: `bootstrap-token-${id}` },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': id,
      'token-secret': secret,
      ...Object.fromEntries(usages.map((usage) => [`usage-bootstrap-${usage}`, 'true'])),
      ...(expiresAt !== undefined && { expiration: formatInstant(expiresAt) }),
    },
  };
}

/** The path of all Secrets, or of the token with this id. */
export function tokenPath(id?: string): string {
  const collection = '/api/v1/namespaces/kube-system/secrets';
  return id === undefined ? collection : `${collection}/bootstrap-token-${id}`;
}

const csrRole = 'system:certificates.k8s.io:certificatesigningrequests';

const renewal: Binding = {
  name: 'test:approve-renewal',
  role: `${csrRole}:selfnodeclient`,
  group: 'system:nodes',
};

const bindings: readonly Binding[] = [
  {
    name: 'test:kubelet-bootstrap',
    role: 'system:node-bootstrapper',
    group: 'system:bootstrappers',
  },
  {
    name: 'test:approve-bootstrap',
    role: `${csrRole}:nodeclient`,
    group: 'system:bootstrappers',
  },
  renewal,
];
