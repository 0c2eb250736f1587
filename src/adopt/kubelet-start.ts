import { isAbsolute, join, normalize } from 'node:path';
import type { Instant } from '../core/instant.ts';
import type { KubeletFlagName, KubeletFlags } from '../kubelet/flags.ts';
import { flagNamed, parseKubeletFlags } from '../kubelet/flags.ts';
import type { KubeletProcess } from '../kubelet/process.ts';
import { readUnitCommand } from './kubelet-unit.ts';
import type { Tree } from './tree.ts';

/** How the kubelet of a node is started, as far as can be told. */
export interface KubeletStart {
  /** What the flags come from; 'unknown' goes without any. */
  readonly source: 'unit' | 'process' | 'unknown';
  /** What restarts it. */
  readonly unit?: string;
  /** Those of its next start. */
  readonly flags: KubeletFlags;
  readonly workingDirectory: string;
  /** Names of the variables in its environment. */
  readonly variables: readonly string[];
  /** Why its unit does not tell the command line. */
  readonly unclear?: string;
  readonly running?: RunningKubelet;
  /** More than one runs on this machine: their process ids. */
  readonly several?: readonly number[];
}

export interface RunningKubelet {
  readonly pid: number;
  readonly startedAt: Instant;
  /** Those that it was started with. */
  readonly flags: KubeletFlags;
}

const usualUnit = 'kubelet.service';

/**
 * The unit files say how it is started next time and where each flag was written; the
 * process says what it was started with, and is all there is to go by where something
 * else than a unit of its own starts it (RKE2, for example).
 */
export async function findKubeletStart(
  tree: Tree,
  processes: readonly KubeletProcess[],
): Promise<KubeletStart> {
  const [process, ...more] = processes;
  const several = more.length > 0 ? { several: processes.map(({ pid }) => pid) } : {};
  const command = await readUnitCommand(tree, process?.unit ?? usualUnit);
  const running = process && {
    pid: process.pid,
    startedAt: process.startedAt,
    flags: parseKubeletFlags(process.words),
  };
  const unit = process?.unit ?? command?.unit;
  const common = { ...several, ...(unit && { unit }), ...(running && { running }) };
  if (command?.words !== undefined) {
    const { words, workingDirectory, variables } = command;
    return {
      ...common,
      source: 'unit',
      flags: parseKubeletFlags(words),
      workingDirectory,
      variables,
    };
  }
  if (process !== undefined && running !== undefined) {
    const { workingDirectory, variables } = process;
    return { ...common, source: 'process', flags: running.flags, workingDirectory, variables };
  }
  const unclear = command?.unclear;
  return {
    ...common,
    source: 'unknown',
    flags: [],
    workingDirectory: '/',
    variables: command?.variables ?? [],
    ...(unclear !== undefined && { unclear }),
  };
}

/** A path that a flag gives, made absolute; absent when the flag is, or is empty. */
export function flaggedPath(
  { flags, workingDirectory }: Pick<KubeletStart, 'flags' | 'workingDirectory'>,
  name: KubeletFlagName,
): string | undefined {
  const value = flagNamed(flags, name)?.value;
  if (value === undefined || value === '') return undefined;
  return isAbsolute(value) ? normalize(value) : join(workingDirectory, value);
}
