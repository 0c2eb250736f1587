import type { ApiClient } from './api-client.ts';
import type { Rule } from './rbac-grants.ts';
import { until } from './until.ts';

export interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules: readonly Rule[];
}

/** One verb on one resource, which can be taken from a user and given back. */
export interface Right {
  /** `watch nodes`, or `approve signers` for the role that every cluster has. */
  readonly name: string;
  /** Empty if the rule allows all objects. */
  readonly objects: readonly string[];
  readonly take: () => Promise<void>;
  readonly give: () => Promise<void>;
}

/** The user who has the role, and an administrator. */
export interface RoleUser {
  readonly admin: ApiClient;
  readonly user: string;
  readonly groups: readonly string[];
}

/** Every right that a role gives. */
export function rightsOf(user: RoleUser, role: Role): Right[] {
  return role.rules.flatMap((rule) =>
    rule.verbs.flatMap((verb) =>
      rule.resources.map((resource) => {
        const one = { ...rule, resources: [resource] };
        const attributes = attributesOf(role, one, verb);
        return {
          name: `${verb} ${resource}`,
          objects: rule.resourceNames ?? [],
          take: () =>
            put(user, without(role, rule, { verb, resource }), { attributes, allowed: false }),
          give: () => put(user, role, { attributes, allowed: true }),
        };
      }),
    ),
  );
}

interface Taken {
  readonly verb: string;
  readonly resource: string;
}

/** The other resources of the rule keep the verb. */
function without(role: Role, rule: Rule, { verb, resource }: Taken): Role {
  const others = rule.resources.filter((kept) => kept !== resource);
  const reduced = [
    { ...rule, resources: others },
    { ...rule, resources: [resource], verbs: rule.verbs.filter((kept) => kept !== verb) },
  ];
  const rules = role.rules
    .flatMap((one) => (one === rule ? reduced : [one]))
    .filter(({ verbs, resources }) => verbs.length > 0 && resources.length > 0);
  return { ...role, rules };
}

interface Review {
  readonly attributes: object;
  readonly allowed: boolean;
}

async function put(user: RoleUser, role: Role, review: Review): Promise<void> {
  const { name, namespace } = role.metadata;
  const group = '/apis/rbac.authorization.k8s.io/v1';
  const path =
    namespace === undefined
      ? `${group}/clusterroles/${name}`
      : `${group}/namespaces/${namespace}/roles/${name}`;
  await user.admin.must({ method: 'PUT', path, body: role });
  await untilReviewed(user, review);
}

/** The authorizer of the API server learns of a changed role a little later. */
export async function untilReviewed(
  { admin, user, groups }: RoleUser,
  { attributes, allowed }: Review,
): Promise<void> {
  await until(`allowed is ${allowed}: ${JSON.stringify(attributes)}`, async () => {
    const { status } = (await admin.must({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      body: { spec: { user, groups, resourceAttributes: attributes } },
    })) as { readonly status: { readonly allowed: boolean } };
    return status.allowed === allowed;
  });
}

function attributesOf({ metadata }: Role, rule: Rule, verb: string): object {
  const [resource = '', subresource] = (rule.resources[0] ?? '').split('/');
  const [name] = rule.resourceNames ?? [];
  const { namespace } = metadata;
  return {
    verb,
    group: rule.apiGroups[0] ?? '',
    resource,
    ...(subresource !== undefined && { subresource }),
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
  };
}
