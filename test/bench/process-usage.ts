import { readFileSync, readdirSync } from 'node:fs';

/**
 * Memory in MB (10⁶ bytes) and CPU time in seconds, of a process and all its
 * descendants unless noted.
 */
export interface ProcessUsage {
  readonly mainRssAnon: number;
  readonly mainRss: number;
  readonly treeRssAnon: number;
  readonly treeRss: number;
  /** User and system time, including children that have exited. */
  readonly cpuSeconds: number;
  /** In nanoseconds, but only of the threads that exist now. For idle processes. */
  readonly threadSeconds: number;
}

export function processUsage(pid: number): ProcessUsage {
  const main = memory(pid);
  const tree = descendants(pid);
  const others = tree.slice(1).map(memory);
  return {
    mainRssAnon: main.anon,
    mainRss: main.rss,
    treeRssAnon: main.anon + sum(others.map(({ anon }) => anon)),
    treeRss: main.rss + sum(others.map(({ rss }) => rss)),
    cpuSeconds: sum(tree.map(cpuSeconds)),
    threadSeconds: sum(tree.map(threadSeconds)),
  };
}

/** The process itself comes first. A child that has exited in the meantime has no children. */
function descendants(pid: number): number[] {
  const children = threads(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(descendants)];
}

function threads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function memory(pid: number): { readonly anon: number; readonly rss: number } {
  const status = read(`/proc/${pid}/status`);
  const megabytes = (field: string): number =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1_024) / 1e6;
  return { anon: megabytes('RssAnon'), rss: megabytes('VmRSS') };
}

/**
 * proc(5): utime, stime, cutime and cstime are the fields 14 to 17, in ticks of 10 ms.
 * The name before them may contain spaces.
 */
function cpuSeconds(pid: number): number {
  const fields = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, '')
    .split(' ');
  return sum(fields.slice(11, 15).map(Number)) / 100;
}

/** The first field of schedstat (Documentation/scheduler/sched-stats.rst) is time on the CPU in nanoseconds. */
function threadSeconds(pid: number): number {
  const times = threads(pid).map((thread) => read(`/proc/${pid}/task/${thread}/schedstat`));
  return sum(times.map((text) => Number(text.split(' ')[0]))) / 1e9;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
