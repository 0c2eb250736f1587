import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describeError } from '../../core/errors.ts';
import type { Process } from '../../sys/process.ts';
import { findProcesses } from '../../sys/process.ts';
import type { Component, ComponentCommand, ComponentSource, FileNote } from './component.ts';
import { processCommand } from './component.ts';
import { flagsOf } from './component-flags.ts';
import { variableIn } from './expansion.ts';
import { MountTable } from './mount-table.ts';

/** A process that runs a component. */
export type ComponentProcess = Process & { readonly started: ComponentCommand };

/** Finds the components that run and serve ports of this machine. Never rejects. */
export async function findComponentProcesses(proc: string): Promise<{
  readonly processes: readonly ComponentProcess[];
  readonly problems: readonly FileNote[];
}> {
  try {
    const all = await findProcesses((words) => processCommand(words) !== undefined, proc);
    const processes = all.flatMap((process) => {
      const started = processCommand(process.command);
      // A process with another network belongs to a pod of the cluster, or to a node in a container.
      return started !== undefined && process.sharesNetwork ? [{ ...process, started }] : [];
    });
    return { processes, problems: [] };
  } catch (error) {
    return { processes: [], problems: [{ path: proc, reason: describeError(error) }] };
  }
}

/** Only the process has the values of variables that the kubelet sets, such as the node's address. */
export function withRunningFlags(
  component: Component,
  processes: readonly ComponentProcess[],
): Component {
  if (component.flags.every(({ value }) => variableIn(value) === undefined)) return component;
  const process = processes.find((candidate) => isInPods(candidate, [component]));
  if (process === undefined) return component;
  return { ...component, flags: flagsOf(process.started, process.environment) };
}

/** The components that no static pod starts. */
export async function processComponents({
  processes,
  inPods,
  proc,
}: {
  readonly processes: readonly ComponentProcess[];
  readonly inPods: readonly Component[];
  readonly proc: string;
}): Promise<Component[]> {
  const own = processes.filter((process) => !isInPods(process, inPods));
  return Promise.all(
    own.map(async (process) => ({
      name: process.started.name,
      source: sourceOf(process),
      flags: flagsOf(process.started, process.environment),
      sharesNetwork: true,
      hostPath: await hostPathOf(process, proc),
    })),
  );
}

/**
 * True for the process of a static pod whose manifest was read. The UID of a static pod, in its
 * cgroup, is a hash of 32 digits (pkg/kubelet/config/common.go); the UIDs of other pods have
 * dashes or underscores.
 */
function isInPods({ cgroups, started }: ComponentProcess, inPods: readonly Component[]): boolean {
  return (
    /pod[0-9a-f]{32}(?:\.slice)?(?:[/:]|$)/m.test(cgroups) &&
    inPods.some(({ name }) => name === started.name)
  );
}

/** A container may have the service of its runtime in its cgroup, and a login that of the user. */
function sourceOf({ pid, unit, cgroups }: Process): ComponentSource {
  const isService = unit !== undefined && !/kubepods|\/user@/.test(cgroups);
  return isService ? { kind: 'unit', unit } : { kind: 'process', pid };
}

/**
 * Maps the paths of a process by its mounts. A file that is nowhere on the node, such as one in an
 * image, has a path below /proc/PID/root, which only a process on the node can open.
 */
async function hostPathOf(
  { pid, sharesMounts, workingDirectory }: Process,
  proc: string,
): Promise<Component['hostPath']> {
  if (sharesMounts) return (path) => resolve(workingDirectory, path);
  const [node, container] = await Promise.all(
    ['self', String(pid)].map(async (name) => mountsIn(join(proc, name, 'mountinfo'))),
  );
  return (path) => {
    const seen = resolve(workingDirectory, path);
    const found = container && node?.pathOf(seen, container);
    return found ?? join(proc, String(pid), 'root', seen);
  };
}

async function mountsIn(path: string): Promise<MountTable> {
  return new MountTable(await readFile(path, 'utf8').catch(() => ''));
}
