import type { Resource } from './api-object.ts';
import { csrResource, nodeResource, qualifiedName } from './api-object.ts';

export interface User {
  readonly username: string;
  readonly groups: readonly string[];
}

/** The user of a request without credentials, as in upstream's anonymous authentication. */
export const anonymous: User = {
  username: 'system:anonymous',
  groups: ['system:unauthenticated'],
};

export type Verb = 'create' | 'get' | 'list' | 'watch' | 'update' | 'delete';

export interface ResourceAttributes {
  readonly verb: Verb;
  readonly resource: Resource;
  readonly subresource?: string;
  /** From the path, or from the field selector of a list or watch. */
  readonly name?: string;
}

/**
 * The rights that the approver requires for client certificates of nodes: to create
 * certificatesigningrequests/nodeclient for any node, or /selfnodeclient for the node
 * itself.
 */
export const approvalKinds = ['nodeclient', 'selfnodeclient'] as const;
export type Approvals = ReadonlySet<(typeof approvalKinds)[number]>;
export const everyApproval: Approvals = new Set(approvalKinds);

export type AccessVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly message: string };

/**
 * Applies the rules of the RBAC roles system:node-bootstrapper and system:node and of
 * the node authorizer. A request that no rule allows is forbidden.
 */
export function authorizeResource(
  user: User,
  attributes: ResourceAttributes,
  approvals: Approvals = everyApproval,
): AccessVerdict {
  const allowed =
    rules.some((rule) => rule(user, attributes)) || mayHaveApproved(user, attributes, approvals);
  return allowed ? { ok: true } : { ok: false, message: forbiddenMessage(user, attributes) };
}

/** Anyone may read the health and the version. Any other path requires credentials. */
export function authorizePath(user: User, path: string): AccessVerdict {
  const open =
    publicPaths.includes(path) ||
    user.groups.includes('system:authenticated') ||
    user.groups.includes('system:masters');
  if (open) return { ok: true };
  return {
    ok: false,
    message: `forbidden: User ${JSON.stringify(user.username)} cannot get path ${JSON.stringify(path)}`,
  };
}

const publicPaths: readonly string[] = ['/healthz', '/livez', '/readyz', '/version'];
const readVerbs: readonly Verb[] = ['get', 'list', 'watch'];

type Rule = (user: User, attributes: ResourceAttributes) => boolean;

const rules: readonly Rule[] = [
  (user) => user.groups.includes('system:masters'),
  (user, attributes) =>
    (user.groups.includes('system:bootstrappers') || nodeNameOf(user) !== undefined) &&
    attributes.resource === csrResource &&
    attributes.subresource === undefined &&
    [...readVerbs, 'create'].includes(attributes.verb),
  (user, attributes) =>
    attributes.resource === nodeResource &&
    attributes.subresource === undefined &&
    readVerbs.includes(attributes.verb) &&
    attributes.name !== undefined &&
    attributes.name === nodeNameOf(user),
];

function mayHaveApproved(
  user: User,
  { resource, subresource, verb }: ResourceAttributes,
  approvals: Approvals,
): boolean {
  if (resource !== csrResource || verb !== 'create') return false;
  if (subresource === 'nodeclient') {
    return approvals.has(subresource) && user.groups.includes('system:bootstrappers');
  }
  return (
    subresource === 'selfnodeclient' &&
    approvals.has(subresource) &&
    user.groups.includes('system:nodes')
  );
}

function nodeNameOf(user: User): string | undefined {
  const prefix = 'system:node:';
  if (!user.groups.includes('system:nodes') || !user.username.startsWith(prefix)) return undefined;
  return user.username.slice(prefix.length) || undefined;
}

function forbiddenMessage(user: User, attributes: ResourceAttributes): string {
  const { verb, resource, subresource, name } = attributes;
  const object = name === undefined ? '' : ` ${JSON.stringify(name)}`;
  const path = subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`;
  return (
    `${qualifiedName(resource)}${object} is forbidden: User ${JSON.stringify(user.username)} cannot ${verb} ` +
    `resource ${JSON.stringify(path)} in API group ${JSON.stringify(resource.group)} at the cluster scope`
  );
}
