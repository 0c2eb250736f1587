import type { IncomingHttpHeaders } from 'node:http';
import type { User } from './authorization.ts';
import { anonymous } from './authorization.ts';
import { StatusError } from './status-error.ts';

/**
 * Returns the user of a request after the headers Impersonate-User and
 * Impersonate-Group (k8s.io/apiserver/pkg/endpoints/filters/impersonation.go). Only the
 * administrator has the verb "impersonate" here.
 * @throws StatusError InternalError for groups without a user, as upstream does;
 * Forbidden
 */
export function impersonated(user: User, headers: IncomingHttpHeaders): User {
  const username = headers['impersonate-user'];
  // Node joins repeated headers with commas, and no group name contains one.
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
