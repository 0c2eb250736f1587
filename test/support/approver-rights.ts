import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { approverUser } from './approver-plane.ts';
import type { ApproverPlane } from './approver-plane.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Role {
  readonly kind: 'Role' | 'ClusterRole';
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules: readonly Rule[];
}

interface Binding {
  readonly kind: 'RoleBinding' | 'ClusterRoleBinding';
  readonly metadata: { readonly name: string };
  readonly roleRef: { readonly name: string };
}

/** One verb on one resource, which can be taken from the approver and given back. */
export interface Right {
  /** `watch nodes`, or `approve signers` for the role that every cluster has. */
  readonly name: string;
  take(): Promise<void>;
  give(): Promise<void>;
}

/** Every right in a file of config/approver/. */
export async function shippedRights(
  cluster: ApproverPlane,
  file: 'rbac.yaml' | 'rbac-machines.yaml',
): Promise<Right[]> {
  const shipped = fileURLToPath(new URL(`../../config/approver/${file}`, import.meta.url));
  const text = (await readFile(shipped, 'utf8')).replaceAll('kube-system', cluster.namespace);
  const objects = [...parseAllDocuments(text)].map((one) => one.toJS() as Role | Binding);
  const roles = objects.filter((object) => 'rules' in object);
  const bindings = objects.filter((object) => 'roleRef' in object);
  const names = new Set(roles.map(({ metadata: { name } }) => name));
  return [
    ...roles.flatMap((role) => rightsOf(cluster, role)),
    ...bindings
      .filter(({ roleRef }) => !names.has(roleRef.name))
      .map((binding) => bindingRight(cluster, binding)),
  ];
}

function rightsOf(cluster: ApproverPlane, role: Role): Right[] {
  return role.rules.flatMap((rule) =>
    rule.verbs.flatMap((verb) =>
      rule.resources.map((resource) => {
        const attributes = attributesOf(role, { ...rule, resources: [resource] }, verb);
        const reduced = {
          ...role,
          rules: role.rules
            .map((one) =>
              one === rule ? { ...one, verbs: one.verbs.filter((kept) => kept !== verb) } : one,
            )
            .filter(({ verbs }) => verbs.length > 0),
        };
        return {
          name: `${verb} ${resource}`,
          take: () => put(cluster, reduced, { attributes, allowed: false }),
          give: () => put(cluster, role, { attributes, allowed: true }),
        };
      }),
    ),
  );
}

function bindingRight(cluster: ApproverPlane, { metadata: { name } }: Binding): Right {
  const attributes = {
    verb: 'approve',
    group: 'certificates.k8s.io',
    resource: 'signers',
    name: 'kubernetes.io/kubelet-serving',
  };
  let binding: object = {};
  return {
    name: 'approve signers',
    take: async () => {
      binding = await cluster.takeBinding(name);
      await untilReviewed(cluster, { attributes, allowed: false });
    },
    give: async () => {
      await cluster.giveBinding(binding);
      await untilReviewed(cluster, { attributes, allowed: true });
    },
  };
}

interface Review {
  readonly attributes: object;
  readonly allowed: boolean;
}

async function put(cluster: ApproverPlane, role: Role, review: Review): Promise<void> {
  const { name, namespace } = role.metadata;
  const group = '/apis/rbac.authorization.k8s.io/v1';
  const path =
    namespace === undefined
      ? `${group}/clusterroles/${name}`
      : `${group}/namespaces/${namespace}/roles/${name}`;
  await cluster.plane.admin.must({ method: 'PUT', path, body: role });
  await untilReviewed(cluster, review);
}

/** The authorizer of the API server learns of a changed role a little later. */
async function untilReviewed(
  cluster: ApproverPlane,
  { attributes, allowed }: Review,
): Promise<void> {
  const groups = ['system:serviceaccounts', 'system:authenticated'];
  await cluster.until(`allowed is ${allowed}: ${JSON.stringify(attributes)}`, async () => {
    const { status } = (await cluster.plane.admin.must({
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      body: { spec: { user: approverUser, groups, resourceAttributes: attributes } },
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
