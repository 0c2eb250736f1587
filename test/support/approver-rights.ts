import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { approverUser } from './approver-plane.ts';
import type { ApproverPlane } from './approver-plane.ts';
import type { Right, Role, RoleUser } from './rbac-rights.ts';
import { rightsOf, untilReviewed } from './rbac-rights.ts';

interface Binding {
  readonly kind: 'RoleBinding' | 'ClusterRoleBinding';
  readonly metadata: { readonly name: string };
  readonly roleRef: { readonly name: string };
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
    ...roles.flatMap((role) => rightsOf(userOf(cluster), role)),
    ...bindings
      .filter(({ roleRef }) => !names.has(roleRef.name))
      .map((binding) => bindingRight(cluster, binding)),
  ];
}

function userOf({ plane: { admin } }: ApproverPlane): RoleUser {
  const groups = ['system:serviceaccounts', 'system:authenticated'];
  return { admin, user: approverUser, groups };
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
    objects: [attributes.name],
    take: async () => {
      binding = await cluster.takeBinding(name);
      await untilReviewed(userOf(cluster), { attributes, allowed: false });
    },
    give: async () => {
      await cluster.giveBinding(binding);
      await untilReviewed(userOf(cluster), { attributes, allowed: true });
    },
  };
}
