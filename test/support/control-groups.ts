import { existsSync, globSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasErrno } from '../../src/core/errors.ts';
import { scaled } from './machine-speed.ts';

/**
 * The control groups of a container: one in each hierarchy of version 1, or a single one
 * in version 2.
 */
const patience = scaled(10_000);

/** Stops every process of a container where it is, like a machine that hangs. */
export async function freeze(name: string): Promise<void> {
  const { file, state, frozen } = freezer(name);
  writeFileSync(file, frozen);
  const end = Date.now() + patience;
  while (!state().includes(frozen)) {
    if (Date.now() > end) throw new Error(`${file} did not freeze: ${state()}`);
    await delay(10);
  }
}

export function thaw(name: string): void {
  const { file, thawed } = freezer(name);
  writeFileSync(file, thawed);
}

interface Freezer {
  readonly file: string;
  readonly frozen: string;
  readonly thawed: string;
  readonly state: () => string;
}

function freezer(name: string): Freezer {
  const [group] = globSync(`/sys/fs/cgroup{,/*}/${name}/cgroup.freeze`);
  if (group !== undefined) {
    const state = (): string => readFileSync(join(group, '../cgroup.events'), 'utf8');
    return {
      file: group,
      frozen: '1',
      thawed: '0',
      state: () => /frozen (.)/.exec(state())?.[1] ?? '',
    };
  }
  const file = `/sys/fs/cgroup/freezer/${name}/freezer.state`;
  return { file, frozen: 'FROZEN', thawed: 'THAWED', state: () => readFileSync(file, 'utf8') };
}

/**
 * Waits until the processes of a killed container are gone, and removes its control
 * groups. It does not return to the event loop, because it also runs while this process exits.
 */
export function removeControlGroups(name: string): void {
  const frozen = `/sys/fs/cgroup/freezer/${name}/freezer.state`;
  // In version 1, a process that is frozen does not die before it is thawed.
  if (existsSync(frozen)) writeFileSync(frozen, 'THAWED');
  const end = Date.now() + patience;
  while (!allRemoved(name) && Date.now() < end) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
}

function allRemoved(name: string): boolean {
  const groups = globSync(`/sys/fs/cgroup{,/*}/${name}`).flatMap((top) => [top, ...below(top)]);
  // A longer path is removed before its parent.
  return groups.toSorted((one, other) => other.length - one.length).every(isRemoved);
}

function below(top: string): string[] {
  const entries = readdirSync(top, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

function isRemoved(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    return hasErrno(error, 'ENOENT');
  }
}
