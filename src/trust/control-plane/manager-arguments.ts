import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import type { Document } from 'yaml';
import { isMap, parseDocument } from 'yaml';
import { AgentError } from '../../core/errors.ts';
import { parseDocuments } from '../../pki/components/yaml-documents.ts';

/** The value of each flag of kube-controller-manager, by its name without dashes. */
export type ManagerArguments = ReadonlyMap<string, string>;

/** v1beta3 has a map, and later versions have a list, in which a name may occur twice. */
const argumentsSchema = v.union([
  v.pipe(
    v.array(v.object({ name: v.string(), value: v.nullish(v.string(), '') })),
    v.transform((list) => list.map(({ name, value }): [string, string] => [name, value])),
  ),
  v.pipe(
    v.record(v.string(), v.string()),
    v.transform((map): [string, string][] => Object.entries(map)),
  ),
]);

const configurationSchema = v.looseObject({
  apiVersion: v.pipe(v.string(), v.startsWith('kubeadm.k8s.io/')),
  controllerManager: v.nullish(v.looseObject({ extraArgs: v.nullish(argumentsSchema, []) }), {}),
});

/**
 * The flags of kube-controller-manager in `controllerManager.extraArgs` of a ClusterConfiguration.
 * kubeadm passes them in addition to its own, and the last one counts.
 * @throws AgentError API_BAD_RESPONSE
 */
export function managerArguments(configuration: string): ManagerArguments {
  const { controllerManager } = parse(configuration);
  return new Map(controllerManager.extraArgs);
}

/**
 * The ClusterConfiguration with these flags set, or removed if the value is undefined. Keeps
 * everything else, and the form of kubeadm's own text.
 * @throws AgentError API_BAD_RESPONSE
 */
export function withManagerArguments(
  configuration: string,
  changes: ReadonlyMap<string, string | undefined>,
): string {
  const { apiVersion, controllerManager } = parse(configuration);
  const kept = controllerManager.extraArgs.filter(([name]) => !changes.has(name));
  const set = [...changes].flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, value]],
  );
  const document = parseDocument(configuration, { version: '1.1' });
  setArguments(document, valueOf([...kept, ...set], apiVersion));
  const edited = document.toString({ lineWidth: 0, indentSeq: false });
  requireOnlyArguments(configuration, edited);
  return edited;
}

function valueOf(flags: readonly (readonly [string, string])[], apiVersion: string): unknown {
  if (flags.length === 0) return undefined;
  return apiVersion === 'kubeadm.k8s.io/v1beta3'
    ? Object.fromEntries(flags)
    : flags.map(([name, value]) => ({ name, value }));
}

/** kubeadm writes `controllerManager: {}` for no settings. */
function setArguments(document: Document, value: unknown): void {
  const found = document.get('controllerManager');
  const settings = isMap(found) ? found : document.createNode({});
  if (value === undefined) settings.delete('extraArgs');
  else settings.set('extraArgs', document.createNode(value));
  settings.flow = settings.items.length === 0;
  document.set('controllerManager', settings);
}

function parse(configuration: string): v.InferOutput<typeof configurationSchema> {
  const parsed = v.safeParse(configurationSchema, parseDocuments(configuration).first);
  if (parsed.success) return parsed.output;
  throw unusable(`has no usable ${v.getDotPath(parsed.issues[0]) ?? 'content'}`);
}

/** An anchor or a tag may mean something else after the edit. */
function requireOnlyArguments(before: string, after: string): void {
  if (!isDeepStrictEqual(withoutArguments(before), withoutArguments(after))) {
    throw unusable('cannot be edited: it has anchors or tags');
  }
}

function withoutArguments(configuration: string): unknown {
  const { controllerManager, ...others } = parse(configuration);
  return { ...others, controllerManager: { ...controllerManager, extraArgs: [] } };
}

function unusable(problem: string): AgentError {
  return new AgentError(
    'API_BAD_RESPONSE',
    `ClusterConfiguration in kube-system/kubeadm-config ${problem}`,
    { remedy: 'Correct it: kubectl --namespace kube-system edit configmap kubeadm-config' },
  );
}
