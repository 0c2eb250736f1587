import { get } from 'node:https';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { AgentError, describeError } from '../../core/errors.ts';
import { formatDuration, minute, second } from '../../core/instant.ts';
import type { LeaseName } from '../../kube/lease-client.ts';
import { editYaml } from '../../kube/yaml-edit.ts';
import { restartService } from '../../kubelet/restart.ts';
import type { CopyAttributes } from '../../store/file-attributes.ts';
import type { FileContent } from '../../store/file-content.ts';
import { digestOf, readContent, replaceContents } from '../../store/file-content.ts';
import type { Clock } from '../../sys/clock.ts';
import { findProcesses } from '../../sys/process.ts';
import { processCommand } from '../components/component.ts';
import type { Component, ComponentName } from '../components/component.ts';
import { componentEndpoints } from '../components/component-endpoints.ts';
import { flagValue } from '../components/component-flags.ts';
import { parseDocuments } from '../components/yaml-documents.ts';

/** How a component of this node is restarted. */
export interface ComponentRestart {
  readonly component: ComponentName;
  readonly by:
    | { readonly kind: 'manifest'; readonly path: string }
    | { readonly kind: 'unit'; readonly unit: string };
  /** Answers /healthz; absent if the component turns its port off. */
  readonly health?: { readonly host: string; readonly port: number };
  /** Which process of the cluster is the leader; absent without leader election. */
  readonly lease?: LeaseName;
}

/** Undefined for a process that no manifest and no service starts: nodecertd cannot restart it. */
export function restartOf(component: Component): ComponentRestart | undefined {
  const { name, source } = component;
  const [health] = componentEndpoints(component);
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

export interface RestartEnvironment {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly copyAttributes: CopyAttributes;
  /** By default those of this machine. */
  readonly proc?: string;
  readonly systemctl?: string;
}

/** kubeadm's control plane needs 15 to 45 seconds. */
const timeLimit = 2 * minute;
const interval = second / 2;

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
      { remedy: 'Start the kubelet, or pass --restart never and restart the component later' },
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
  const { by, component } = restart;
  const { clock } = environment;
  const before = await processIds(component, environment);
  const start = clock.elapsed();
  if (by.kind === 'unit') {
    await restartService({ ...environment, unit: by.unit });
    await waitUntilHealthy(restart, { before, start, ...environment });
    return clock.elapsed() - start;
  }
  const previous = await readManifest(by.path);
  try {
    await annotate(by.path, previous, environment);
    await waitUntilHealthy(restart, { before, start, ...environment });
    return clock.elapsed() - start;
  } catch (error) {
    await replaceContents([{ path: by.path, content: previous }], environment.copyAttributes);
    throw error;
  }
}

async function readManifest(path: string): Promise<FileContent> {
  const content = await readContent(path);
  if (content !== undefined) return content;
  throw new AgentError('COMPONENT_RESTART', `the manifest ${path} no longer exists`);
}

/** The kubelet ignores the temporary file, because its name begins with a dot (pkg/kubelet/config/file.go). */
async function annotate(
  path: string,
  { bytes, state }: FileContent,
  { clock, copyAttributes }: RestartEnvironment,
): Promise<void> {
  const text = withAnnotation(Buffer.from(bytes).toString(), new Date(clock.now()).toISOString());
  if (text === undefined) {
    throw new AgentError('COMPONENT_RESTART', `cannot add an annotation to ${path}`, {
      remedy: `Add the annotation ${annotation} to metadata in ${path} by hand, or pass --restart never`,
    });
  }
  const edited = new Uint8Array(Buffer.from(text));
  const content = { bytes: edited, state: { ...state, sha256: digestOf(edited) } };
  await replaceContents([{ path, content }], copyAttributes);
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

async function processIds(
  component: ComponentName,
  { proc }: Pick<RestartEnvironment, 'proc'>,
): Promise<ReadonlySet<number>> {
  const isWanted = (command: readonly string[]): boolean =>
    processCommand(command)?.name === component;
  return new Set((await findProcesses(isWanted, proc)).map(({ pid }) => pid));
}

async function waitUntilHealthy(
  restart: ComponentRestart,
  options: RestartEnvironment & { readonly before: ReadonlySet<number>; readonly start: number },
): Promise<void> {
  const { component, health } = restart;
  const { clock, signal, before, start } = options;
  for (let reason = ''; ;) {
    const running = [...(await processIds(component, options))];
    if (running.length === 0) reason = 'it is not running';
    else if (!running.some((pid) => !before.has(pid))) reason = 'the previous process still runs';
    else if (health === undefined) return;
    else {
      const answer = await healthOf(health, signal);
      if (answer === 'ok') return;
      reason = answer;
    }
    if (clock.elapsed() - start >= timeLimit) throw notHealthy(restart, reason);
    await clock.sleep(interval, signal);
  }
}

function notHealthy(restart: ComponentRestart, reason: string): AgentError {
  return new AgentError(
    'COMPONENT_RESTART',
    `${restart.component} was not healthy ${formatDuration(timeLimit)} after its restart: ${reason}`,
    { remedy: `Read its log: ${logCommand(restart)}` },
  );
}

/** The command that shows the log of a component, also of one that has just ended. */
export function logCommand({ component, by }: Pick<ComponentRestart, 'component' | 'by'>): string {
  return by.kind === 'unit'
    ? `journalctl --unit ${by.unit}`
    : `crictl logs "$(crictl ps --all --quiet --name ${component} | head -1)"`;
}

/**
 * `ok`, or why the component is not healthy. The certificate of this port is self-signed, and the
 * answer contains no secret.
 */
export async function healthOf(
  { host, port }: NonNullable<ComponentRestart['health']>,
  signal: AbortSignal,
): Promise<string> {
  try {
    const stop = AbortSignal.any([signal, AbortSignal.timeout(3 * second)]);
    const request = get({
      host,
      port,
      path: '/healthz',
      rejectUnauthorized: false,
      agent: false,
      signal: stop,
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode === 200 ? 'ok' : `/healthz answers ${response.statusCode}`;
  } catch (error) {
    signal.throwIfAborted();
    return describeError(error);
  }
}
