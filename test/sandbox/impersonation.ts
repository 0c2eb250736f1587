import type { IncomingHttpHeaders } from 'node:http';
import type { User } from './authorization.ts';
import { anonymous } from './authorization.ts';
import { StatusError } from './status-error.ts';

/**
 * Whom a request is made as: with Impersonate-User, and Impersonate-Group once for each
 * group, the one they name (k8s.io/apiserver/pkg/endpoints/filters/impersonation.go).
 * That takes the verb "impersonate", which nobody but the administrator has here.
 * @throws StatusError InternalError for groups without a user, as upstream; Forbidden
 */
export function impersonated(user: User, headers: IncomingHttpHeaders): User {
  const username = headers['impersonate-user'];
  // Repeated, Node joins it: no group has a comma in its name.
  const groups = String(headers['impersonate-group'] ?? '').split(/ *, */);
  if (typeof username !== 'string' || username === '') {
    if (groups[0] === '') return user;
    throw new StatusError(
      'InternalError',
      `requested [{Group  ${groups[0]} }] without impersonating a user`,
    );
  }
  if (!user.groups.includes('system:masters')) throw forbidden(user, username);
  const known = groups.filter((group) => group !== '');
  const everyones = username === anonymous.username ? anonymous.groups : ['system:authenticated'];
  return { username, groups: [...new Set([...known, ...everyones])] };
}

function forbidden({ username }: User, name: string): StatusError {
  return new StatusError(
    'Forbidden',
    `users ${JSON.stringify(name)} is forbidden: User ${JSON.stringify(username)} cannot impersonate ` +
      'resource "users" in API group "" at the cluster scope',
    { name, kind: 'users' },
  );
}
