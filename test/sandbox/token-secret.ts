import type { Instant } from '../../src/core/instant.ts';
import { formatInstant } from '../../src/core/instant.ts';
import type { User } from './authorization.ts';
import { StatusError } from './status-error.ts';

/** The bootstrap token of the sandbox. */
export interface BootstrapToken {
  /** `abcdef.0123456789abcdef`. */
  readonly token: string;
  /** Absent if it does not expire. */
  readonly expiration?: Instant;
}

export const secretsPath = ['api', 'v1', 'namespaces', 'kube-system', 'secrets'] as const;

export function isExpired({ expiration }: BootstrapToken, now: Instant): boolean {
  return expiration !== undefined && expiration <= now;
}

/**
 * Returns the only Secret of the sandbox, which contains its bootstrap token. It
 * disappears when the token expires, because upstream's token cleaner deletes it. Only
 * administrators may read it.
 * @throws StatusError Forbidden, NotFound
 */
export function readTokenSecret(
  name: string,
  {
    user,
    bootstrap,
    now,
  }: {
    readonly user: User;
    readonly bootstrap: BootstrapToken;
    readonly now: Instant;
  },
): object {
  const details = { name, group: '', kind: 'secrets' };
  if (!user.groups.includes('system:masters')) {
    const who = JSON.stringify(user.username);
    const message = `secrets ${JSON.stringify(name)} is forbidden: User ${who} cannot get resource "secrets" in API group "" in the namespace "kube-system"`;
    throw new StatusError('Forbidden', message, details);
  }
  const [id = '', secret = ''] = bootstrap.token.split('.');
  if (name !== `bootstrap-token-${id}` || isExpired(bootstrap, now)) {
    throw new StatusError('NotFound', `secrets ${JSON.stringify(name)} not found`, details);
  }
  const data = {
    ...(bootstrap.expiration !== undefined && { expiration: formatInstant(bootstrap.expiration) }),
    'token-id': id,
    'token-secret': secret,
    'usage-bootstrap-authentication': 'true',
  };
  return {
    kind: 'Secret',
    apiVersion: 'v1',
    metadata: { name, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    data: Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  };
}
