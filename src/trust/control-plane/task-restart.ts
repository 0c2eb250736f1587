import { AgentError } from '../../core/errors.ts';
import type { StartEnvironment } from '../../pki/renewal/component-start.ts';
import { startOf } from '../../pki/renewal/component-start.ts';
import type { Restarts } from '../../pki/renewal/renewal-restarts.ts';
import type { ComponentRestart } from '../../pki/renewal/restart.ts';
import { changeTime } from '../../store/used-file.ts';
import type { FileTask, StepTask } from './task.ts';

export interface RestartFacts extends Pick<StartEnvironment, 'clock' | 'proc'> {
  /** How the components of this node are restarted, by name. */
  readonly restarts: Restarts;
}

/**
 * The restart that a task needs: its files change, or the component is older than one of them or does
 * not run, for example because an earlier run was killed before it had seen the component healthy.
 * @throws AgentError COMPONENT_RESTART for a component that neither the kubelet nor systemd starts
 */
export async function neededRestart(
  { files, restart }: Pick<FileTask, 'files' | 'restart'>,
  facts: RestartFacts,
): Promise<ComponentRestart | undefined> {
  if (restart === undefined || !(await isRestarted({ files, restart }, facts))) return undefined;
  return restartIn(restart.component, facts.restarts);
}

/** The components that a step restarts. */
export async function restartedComponents(
  tasks: readonly StepTask[],
  facts: Omit<RestartFacts, 'restarts'>,
): Promise<string[]> {
  const found: string[] = [];
  for (const { files, restart } of tasksWithRestart(tasks)) {
    if (await isRestarted({ files, restart }, facts)) found.push(restart.component);
  }
  return found;
}

type TaskWithRestart = Required<Pick<FileTask, 'files' | 'restart'>>;

/**
 * The tasks that may restart a component. Its files are also those that an earlier task of the step
 * changes: etcd and kube-apiserver read one CA file, and restart one after the other.
 */
export function tasksWithRestart(tasks: readonly StepTask[]): TaskWithRestart[] {
  const changed: FileTask['files'][number][] = [];
  return tasks.flatMap((task) => {
    if (task.kind !== 'files') return [];
    const { files, restart } = task;
    const earlier = changed.filter(({ path }) => restart?.reads.includes(path) === true);
    changed.push(...files);
    return restart === undefined ? [] : [{ files: [...files, ...earlier], restart }];
  });
}

async function isRestarted(
  { files, restart }: TaskWithRestart,
  facts: Omit<RestartFacts, 'restarts'>,
): Promise<boolean> {
  return files.length > 0 || restart.isOutdated === true || (await isOlder(restart, facts));
}

/** Restored files keep their modification time, so the time of the inode counts. */
async function isOlder(
  { component, reads }: NonNullable<FileTask['restart']>,
  facts: Omit<RestartFacts, 'restarts'>,
): Promise<boolean> {
  const start = await startOf(component, facts);
  const changed = await Promise.all(reads.map(changeTime));
  return start === undefined || changed.some((time) => time !== undefined && time > start);
}

function restartIn(component: string, restarts: Restarts): ComponentRestart {
  const restart = restarts.get(component);
  if (restart !== undefined) return restart;
  throw new AgentError(
    'COMPONENT_RESTART',
    `${component} has to be restarted, but no manifest and no unit starts it`,
    { remedy: 'Print the commands for this step: nodecertd ca-rollover plan' },
  );
}
