import type { KubernetesObject } from './helm.ts';

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Role extends KubernetesObject {
  readonly rules: readonly Rule[];
}

interface Binding extends KubernetesObject {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects: readonly { readonly namespace: string; readonly name: string }[];
}

/**
 * What the bindings among the objects grant: one line for each subject and rule, whatever the roles
 * are called. A role that is not among the objects is part of every cluster.
 */
export function grantsOf(objects: readonly KubernetesObject[]): string[] {
  const bindings = objects.filter(({ kind }) => kind.endsWith('Binding')) as Binding[];
  return bindings.flatMap((binding) => grantsOfBinding(binding, objects)).sort();
}

function grantsOfBinding(binding: Binding, objects: readonly KubernetesObject[]): string[] {
  const { roleRef, subjects, metadata } = binding;
  const role = objects.find(
    (object) =>
      object.kind === roleRef.kind &&
      object.metadata.name === roleRef.name &&
      object.metadata.namespace === metadata.namespace,
  ) as Role | undefined;
  const rules = role?.rules.map(ruleText) ?? [`the rules of ${roleRef.name}`];
  const scope = metadata.namespace === undefined ? '' : ` in ${metadata.namespace}`;
  return subjects.flatMap(({ namespace, name }) =>
    rules.map((rule) => `${namespace}/${name}: ${rule}${scope}`),
  );
}

export function ruleText({ apiGroups, resources, resourceNames = [], verbs }: Rule): string {
  const names = resourceNames.map((name) => ` ${name}`).join('');
  return `${apiGroups.join()}/${resources.join()}${names}: ${verbs.join(', ')}`;
}
