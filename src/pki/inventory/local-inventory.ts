import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import type { LocalKubelet } from '../../kubelet/local-kubelet.ts';
import { findLocalKubelet } from '../../kubelet/local-kubelet.ts';
import { componentEndpoints, kubeletEndpoint } from '../components/component-endpoints.ts';
import type { Component, FileNote } from '../components/component.ts';
import { fileReferences, kubeletReferences } from '../components/file-references.ts';
import { findComponents } from '../components/find-components.ts';
import { isBelow } from '../components/mount-table.ts';
import type { Inventory } from './inventory.ts';
import { takeInventory } from './inventory.ts';
import type { JudgeOptions } from './judge.ts';
import type { KubernetesDirectories } from '../layout.ts';
import { defaultDirectories } from '../layout.ts';
import type { ComponentRestart } from '../renewal/restart.ts';
import { restartOf } from '../renewal/restart.ts';
import { scanCertificates } from './scan.ts';
import type { NamedFile } from './scan-record.ts';
import type { ServedEndpoint } from './served.ts';
import { checkServed } from './served.ts';
import type { Gap } from './sighting.ts';

export interface LocalInventoryRequest extends JudgeOptions {
  readonly directories: KubernetesDirectories;
  /** Overrides the directory that the kubelet's settings name. */
  readonly kubeletDirectory?: string;
  readonly allKubeletPairs: boolean;
  readonly kubeconfigs: readonly string[];
  /** Paths and glob patterns of further files. */
  readonly patterns: readonly string[];
  /** Connect to the endpoints of this node. */
  readonly dial: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (what: string, state: 'started' | 'ended') => void;
}

/** The inventory of this machine: its files, and what its endpoints serve. */
export async function localInventory(request: LocalInventoryRequest): Promise<Inventory> {
  const { directories, patterns, dial, onProgress } = request;
  const node = await findNode(directories);
  onProgress('the files', 'started');
  const scanned = scanCertificates({
    ...request,
    kubeletDirectory: request.kubeletDirectory ?? node.kubelet?.certificateDirectory,
    named: node.named,
    components: new Set(node.components.map(({ name }) => name)),
    paths: await expand(patterns),
  }).finally(() => onProgress('the files', 'ended'));
  onProgress('the endpoints', 'started');
  const served = dial ? checkServed(endpointsOf(node), request) : Promise.resolve([]);
  const [scan, dialed] = await Promise.all([scanned, served]);
  const gaps = [...scan.gaps, ...node.problems.map(unreadable)];
  const skipped = [...scan.skipped, ...node.ignored];
  const inventory = takeInventory({ ...scan, gaps, skipped }, request);
  return { ...inventory, items: [...inventory.items, ...dialed] };
}

/** How the components of this machine are restarted, by name. */
export async function localRestarts(
  directories: KubernetesDirectories,
): Promise<ReadonlyMap<string, ComponentRestart>> {
  const { components } = await findNode(directories);
  const restarts = components.flatMap((component) => restartOf(component) ?? []);
  return new Map(restarts.map((restart) => [restart.component, restart]));
}

/** The endpoints that the control plane, etcd and the kubelet of this machine serve. */
export async function localEndpoints(
  directories: KubernetesDirectories,
): Promise<readonly ServedEndpoint[]> {
  return endpointsOf(await findNode(directories));
}

interface LocalNode {
  /** Absent if the directories do not belong to the kubelet of this machine. */
  readonly kubelet: LocalKubelet | undefined;
  readonly components: readonly Component[];
  readonly named: readonly NamedFile[];
  /** Files of the kubelet and of components that cannot be read. */
  readonly problems: readonly FileNote[];
  /** Manifests that the kubelet does not use, and files of containers that are not on the node. */
  readonly ignored: readonly FileNote[];
}

async function findNode(directories: KubernetesDirectories): Promise<LocalNode> {
  const kubelet = await findLocalKubelet();
  const { kubernetes } = directories;
  const manifests = join(kubernetes, 'manifests');
  const staticPodPath = kubelet.found ? kubelet.staticPodPath : manifests;
  if (kubernetes === defaultDirectories.kubernetes) return readNode(kubelet, staticPodPath);
  // The files of another node, such as a backup: the kubelet of this machine does not use them.
  const isOfKubelet = isBelow(kubelet.kubeconfig ?? '', kubernetes);
  const node = await readNode(kubelet, isOfKubelet ? staticPodPath : manifests);
  return restrictTo(directories, isOfKubelet ? node : { ...node, kubelet: undefined });
}

async function readNode(kubelet: LocalKubelet, staticPodPath: string): Promise<LocalNode> {
  const { components, problems, ignored } = await findComponents({ staticPodPath });
  const files = await fileReferences(components);
  return {
    kubelet,
    components,
    named: [...files.references, ...kubeletReferences(kubelet)],
    problems: [...kubelet.problems, ...problems, ...files.problems],
    ignored: [...ignored, ...files.ignored],
  };
}

/** Leaves out the programs of this machine that use no file in these directories. */
async function restrictTo(
  { kubernetes, certificates }: KubernetesDirectories,
  node: LocalNode,
): Promise<LocalNode> {
  const isOwn = (path: string): boolean => isBelow(path, kubernetes) || isBelow(path, certificates);
  const named = await Promise.all(
    node.components.map(async (component) => {
      const { references } = await fileReferences([component]);
      return { component, isUser: references.some(({ path }) => isOwn(path)) };
    }),
  );
  const components = named.filter(({ isUser }) => isUser).map(({ component }) => component);
  const files = await fileReferences(components);
  const kubelet = node.kubelet === undefined ? [] : kubeletReferences(node.kubelet);
  return {
    kubelet: node.kubelet,
    components,
    named: [...files.references, ...kubelet],
    problems: node.problems.filter(({ path }) => isOwn(path)),
    ignored: node.ignored.filter(({ path }) => isOwn(path)),
  };
}

function endpointsOf({ components, kubelet }: LocalNode): ServedEndpoint[] {
  const own = kubelet && kubeletEndpoint(kubelet);
  return [...components.flatMap(componentEndpoints), ...(own === undefined ? [] : [own])];
}

function unreadable({ path, reason }: FileNote): Gap {
  return { name: path, section: 'other', place: { path }, usedBy: [], state: 'unreadable', reason };
}

/** A path without a pattern stays, so that a missing file becomes a row. */
async function expand(patterns: readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const pattern of patterns) {
    if (!/[*?[{]/.test(pattern)) paths.push(pattern);
    else for await (const path of glob(pattern)) paths.push(path);
  }
  return paths;
}
