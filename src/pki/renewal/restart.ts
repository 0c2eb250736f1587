import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import type { LeaseName } from '../../kube/lease-client.ts';
import { editYaml } from '../../kube/yaml-edit.ts';
import { restartService } from '../../kubelet/restart.ts';
import type { CopyAttributes } from '../../store/file-attributes.ts';
import type { FileContent } from '../../store/file-content.ts';
import { digestOf, readContent, replaceContents } from '../../store/file-content.ts';
import type { NewChange } from '../../store/run-folder.ts';
import { findProcesses } from '../../sys/process.ts';
import type { Component, ComponentName } from '../components/component.ts';
import type { HealthPort } from '../components/component-endpoints.ts';
import { healthPort } from '../components/component-endpoints.ts';
import { flagValue } from '../components/component-flags.ts';
import { parseDocuments } from '../components/yaml-documents.ts';
import type { StartEnvironment } from './component-start.ts';
import { expectRestart } from './component-start.ts';

/** How a component of this node is restarted. */
export interface ComponentRestart {
  readonly component: ComponentName;
  readonly by:
    | { readonly kind: 'manifest'; readonly path: string }
    | { readonly kind: 'unit'; readonly unit: string };
  /** Absent if the component turns its port off. */
  readonly health?: HealthPort;
  /** Which process of the cluster is the leader; absent without leader election. */
  readonly lease?: LeaseName;
}

/** Undefined for a process that no manifest and no service starts: nodecertd cannot restart it. */
export function restartOf(component: Component): ComponentRestart | undefined {
  const { name, source } = component;
  const health = healthPort(component);
  const lease = leaseOf(component);
  const common = { component: name, ...(health && { health }), ...(lease && { lease }) };
  switch (source.kind) {
    case 'static-pod':
      return { ...common, by: { kind: 'manifest', path: source.manifest } };
    case 'unit':
      return { ...common, by: { kind: 'unit', unit: source.unit } };
    case 'process':
      return undefined;
    default:
      return source satisfies never;
  }
}

/** How the components of this machine are restarted, by name. */
export function restartsOf({
  components,
}: {
  readonly components: readonly Component[];
}): ReadonlyMap<string, ComponentRestart> {
  const restarts = components.flatMap((component) => restartOf(component) ?? []);
  return new Map(restarts.map((restart) => [restart.component, restart]));
}

/** The flags of LeaderElectionConfiguration (component-base, config/options/leaderelectionconfig.go). */
function leaseOf({ name, flags }: Component): LeaseName | undefined {
  if (flagValue(flags, 'leader-elect') === 'false') return undefined;
  return {
    namespace: flagValue(flags, 'leader-elect-resource-namespace') ?? 'kube-system',
    name: flagValue(flags, 'leader-elect-resource-name') ?? name,
  };
}

export interface RestartEnvironment extends StartEnvironment {
  readonly copyAttributes: CopyAttributes;
}

const annotation = 'nodecertd.io/restarted-at';

/**
 * Refuses a restart that cannot succeed, before anything is written.
 * @throws AgentError COMPONENT_RESTART
 */
export async function requireRestartable(
  { component, by }: ComponentRestart,
  { proc }: Pick<RestartEnvironment, 'proc'>,
): Promise<void> {
  if (by.kind === 'unit') return;
  const kubelets = await findProcesses(([program = '']) => /(?:^|\/)kubelet$/.test(program), proc);
  if (kubelets.length === 0) {
    throw new AgentError(
      'COMPONENT_RESTART',
      `${component} has to be restarted, but the kubelet is not running`,
      { remedy: 'Start the kubelet, and run this command again: systemctl start kubelet' },
    );
  }
  const { state } = await readManifest(by.path);
  const owner = process.geteuid?.() ?? 0;
  if (state.uid === 0 || state.uid === owner) return;
  throw new AgentError(
    'COMPONENT_RESTART',
    `${by.path} belongs to the user ${state.uid}, who can change the programs that the kubelet runs`,
    { remedy: `Check the manifest, then run: chown root:root ${by.path}` },
  );
}

/**
 * Restarts a component, and waits until a new process of it answers /healthz.
 *
 * A static pod gets another annotation. Its UID is a hash of its content (kubelet,
 * pkg/kubelet/config/common.go), so the kubelet stops the old pod and then starts the new one.
 * Touching the file does not change the UID. `crictl stop` keeps the pod, whose second restart
 * within ten minutes is delayed. A manifest that is moved away is lost in a crash.
 * @returns the milliseconds until the component was healthy
 * @throws AgentError COMPONENT_RESTART, after the previous manifest is in place again; ABORTED
 */
export async function restartComponent(
  restart: ComponentRestart,
  environment: RestartEnvironment,
): Promise<number> {
  const { by } = restart;
  const { clock, copyAttributes } = environment;
  const healthy = await expectRestart(restart, environment);
  if (by.kind === 'unit') {
    await restartService({ ...environment, unit: by.unit });
    return healthy();
  }
  const { path, before, after } = await annotatedManifest(by.path, clock.now());
  try {
    await replaceContents([{ path, content: after }], copyAttributes);
    return await healthy();
  } catch (error) {
    await replaceContents([{ path, content: before }], copyAttributes);
    throw error;
  }
}

async function readManifest(path: string): Promise<FileContent> {
  const content = await readContent(path);
  if (content !== undefined) return content;
  throw new AgentError('COMPONENT_RESTART', `the manifest ${path} no longer exists`);
}

/**
 * The manifest with the time of a restart. The kubelet ignores the temporary file of its
 * replacement, because its name begins with a dot (pkg/kubelet/config/file.go).
 * @throws AgentError COMPONENT_RESTART
 */
export async function annotatedManifest(
  path: string,
  now: Instant,
): Promise<Required<Omit<NewChange, 'item'>>> {
  const before = await readManifest(path);
  const text = withAnnotation(Buffer.from(before.bytes).toString(), new Date(now).toISOString());
  if (text === undefined) {
    throw new AgentError('COMPONENT_RESTART', `cannot add an annotation to ${path}`, {
      remedy: `Write ${path} as one YAML document without anchors, tags and aliases, and run this command again`,
    });
  }
  const bytes = new Uint8Array(Buffer.from(text));
  return { path, before, after: { bytes, state: { ...before.state, sha256: digestOf(bytes) } } };
}

/** Undefined for a text that cannot be edited line by line. */
export function withAnnotation(text: string, value: string): string | undefined {
  const { first } = parseDocuments(text);
  const manifest = first as { readonly metadata?: { readonly annotations?: unknown } } | null;
  const annotations = manifest?.metadata?.annotations;
  const hasAnnotations = typeof annotations === 'object' && annotations !== null;
  const at = ['metadata', 'annotations'];
  return editYaml(text, [
    hasAnnotations
      ? { path: [...at, annotation], value }
      : { path: at, value: { [annotation]: value } },
  ]);
}
