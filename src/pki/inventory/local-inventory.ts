import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import type { LocalKubelet } from '../../kubelet/local-kubelet.ts';
import { findLocalKubelet } from '../../kubelet/local-kubelet.ts';
import { releaseMemory } from '../../sys/memory.ts';
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
  /** As in ScanRequest. */
  readonly keepDer: boolean;
  /** Connect to the endpoints of this node. */
  readonly dial: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (what: string, state: 'started' | 'ended') => void;
}

/** The inventory of this machine: its files, and what its endpoints serve. */
export async function localInventory(request: LocalInventoryRequest): Promise<Inventory> {
  const { directories, patterns, dial, onProgress } = request;
  const node = await findLocalNode(directories);
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
  if (scan.sightings.length > manyCertificates) releaseMemory();
  const gaps = [...scan.gaps, ...node.problems.map(unreadable)];
  const skipped = [...scan.skipped, ...node.ignored];
  const inventory = takeInventory({ ...scan, gaps, skipped }, request);
  return { ...inventory, items: [...inventory.items, ...dialed] };
}

/**
 * From here on, a garbage collection between the scan and the rows saves more memory (20 MB of
 * 190 MB for 100,000 files) than its time costs (5%).
 */
const manyCertificates = 50_000;

/** The programs of this machine, and what their settings say about certificates. */
export interface LocalNode {
  /** Absent if the directories do not belong to the kubelet of this machine. */
  readonly kubelet: LocalKubelet | undefined;
  readonly components: readonly Component[];
  readonly named: readonly NamedFile[];
  /** Files of the kubelet and of components that cannot be read. */
  readonly problems: readonly FileNote[];
  /**
   * Manifests that the kubelet does not use, stopped services whose flags are unknown, and files of
   * containers that are not on the node.
   */
  readonly ignored: readonly FileNote[];
}

export async function findLocalNode(directories: KubernetesDirectories): Promise<LocalNode> {
  const found = await findLocalKubelet();
  const { kubernetes, certificates } = directories;
  // Other directories may be those of another node, such as a backup.
  const isUsual = kubernetes === defaultDirectories.kubernetes;
  const isOwn = (path: string): boolean =>
    isUsual || isBelow(path, kubernetes) || isBelow(path, certificates);
  const kubelet = isUsual || isBelow(found.kubeconfig ?? '', kubernetes) ? found : undefined;
  const staticPodPath =
    kubelet?.found === true ? kubelet.staticPodPath : join(kubernetes, 'manifests');
  const all = await findComponents({ staticPodPath });
  const components = isUsual ? all.components : await usersOf(isOwn, all.components);
  const files = await fileReferences(components);
  const problems = [...(kubelet?.problems ?? []), ...all.problems, ...files.problems];
  return {
    kubelet,
    components,
    named: [...files.references, ...(kubelet === undefined ? [] : kubeletReferences(kubelet))],
    problems: problems.filter(({ path }) => isOwn(path)),
    ignored: [...all.ignored, ...files.ignored].filter(({ path }) => isOwn(path)),
  };
}

/** The components that use one of these files. */
async function usersOf(
  isOwn: (path: string) => boolean,
  components: readonly Component[],
): Promise<Component[]> {
  const users = await Promise.all(
    components.map(async (component) => {
      const { references } = await fileReferences([component]);
      return references.some(({ path }) => isOwn(path)) ? [component] : [];
    }),
  );
  return users.flat();
}

/** The endpoints that the control plane, etcd and the kubelet of this machine serve. */
export function endpointsOf({
  components,
  kubelet,
}: Pick<LocalNode, 'components' | 'kubelet'>): ServedEndpoint[] {
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
