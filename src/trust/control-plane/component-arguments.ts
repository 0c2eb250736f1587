import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import type { Document } from 'yaml';
import { isMap, parseDocument } from 'yaml';
import { AgentError } from '../../core/errors.ts';
import { parseDocuments } from '../../pki/components/yaml-documents.ts';

/** The component whose flags a section of ClusterConfiguration has. */
export const sections = {
  apiServer: 'kube-apiserver',
  controllerManager: 'kube-controller-manager',
} as const;
export type Section = keyof typeof sections;

/** The value of each flag of a component, by its name without dashes. */
export type ComponentArguments = ReadonlyMap<string, string>;

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

const sectionSchema = v.nullish(v.looseObject({ extraArgs: v.nullish(argumentsSchema, []) }), {});
const configurationSchema = v.looseObject({
  apiVersion: v.pipe(v.string(), v.startsWith('kubeadm.k8s.io/')),
  apiServer: sectionSchema,
  controllerManager: sectionSchema,
});

/**
 * The flags of a component in `extraArgs` of its section of a ClusterConfiguration. kubeadm passes them in addition to its own, and the last one counts.
 * @throws AgentError API_BAD_RESPONSE
 */
export function componentArguments(configuration: string, section: Section): ComponentArguments {
  return new Map(parse(configuration)[section].extraArgs);
}

/**
 * The ClusterConfiguration with these flags set, or removed if the value is undefined. Keeps
 * everything else, and the form of kubeadm's own text.
 * @throws AgentError API_BAD_RESPONSE
 */
export function withArguments(
  configuration: string,
  section: Section,
  changes: ReadonlyMap<string, string | undefined>,
): string {
  const { apiVersion, [section]: settings } = parse(configuration);
  const kept = settings.extraArgs.filter(([name]) => !changes.has(name));
  const set = [...changes].flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, value]],
  );
  const document = parseDocument(configuration, { version: '1.1' });
  setArguments(document, section, valueOf([...kept, ...set], apiVersion));
  const edited = document.toString({ lineWidth: 0, indentSeq: false });
  requireOnlyArguments(section, configuration, edited);
  return edited;
}

function valueOf(flags: readonly (readonly [string, string])[], apiVersion: string): unknown {
  if (flags.length === 0) return undefined;
  return apiVersion === 'kubeadm.k8s.io/v1beta3'
    ? Object.fromEntries(flags)
    : flags.map(([name, value]) => ({ name, value }));
}

/** kubeadm writes `controllerManager: {}` for no settings. */
function setArguments(document: Document, section: Section, value: unknown): void {
  const found = document.get(section);
  const settings = isMap(found) ? found : document.createNode({});
  if (value === undefined) settings.delete('extraArgs');
  else settings.set('extraArgs', document.createNode(value));
  settings.flow = settings.items.length === 0;
  document.set(section, settings);
}

function parse(configuration: string): v.InferOutput<typeof configurationSchema> {
  const parsed = v.safeParse(configurationSchema, parseDocuments(configuration).first);
  if (parsed.success) return parsed.output;
  throw unusable(`has no usable ${v.getDotPath(parsed.issues[0]) ?? 'content'}`);
}

/** An anchor or a tag may mean something else after the edit. */
function requireOnlyArguments(section: Section, before: string, after: string): void {
  if (!isDeepStrictEqual(withoutArguments(before, section), withoutArguments(after, section))) {
    throw unusable('cannot be edited: it has anchors or tags');
  }
}

function withoutArguments(configuration: string, section: Section): unknown {
  const { [section]: settings, ...others } = parse(configuration);
  return { ...others, [section]: { ...settings, extraArgs: [] } };
}

function unusable(problem: string): AgentError {
  return new AgentError(
    'API_BAD_RESPONSE',
    `ClusterConfiguration in kube-system/kubeadm-config ${problem}`,
    { remedy: 'Correct it: kubectl --namespace kube-system edit configmap kubeadm-config' },
  );
}
