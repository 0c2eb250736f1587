import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';

/** What a program has used from its start to its end. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  /** The largest RSS in 10⁶ bytes; RSS counts the pages of its program file too. */
  readonly peakMegabytes: number;
  /** The largest RssAnon that was seen every 2 ms: memory that no other process shares. */
  readonly peakAnonMegabytes?: number;
}

/**
 * Runs a program, and measures it from outside, because the programs are written in different
 * languages. The times come from `time` of bash.
 * @param codes the exit codes of success
 * @throws Error with the output of a program that fails
 */
export async function usageOf(
  program: string,
  args: readonly string[],
  codes: readonly number[] = [0],
): Promise<Usage> {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null';
  const shell = spawn('bash', ['-c', script, 'bash', program, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let peak = { rss: 0, anon: 0 };
  const watch = setInterval(() => {
    const { rss, anon } = memoryOfChild(shell.pid ?? 0);
    peak = { rss: Math.max(peak.rss, rss), anon: Math.max(peak.anon, anon) };
  }, 2);
  const [errors, [code]] = await Promise.all([text(shell.stderr), once(shell, 'exit')]);
  clearInterval(watch);
  if (!codes.includes(Number(code))) throw new Error(`${program} exited with ${code}: ${errors}`);
  const [wall = 0, user = 0, system = 0] = (errors.trimEnd().split('\n').at(-1) ?? '')
    .split(' ')
    .map(Number);
  return {
    cpuSeconds: user + system,
    wallSeconds: wall,
    peakMegabytes: peak.rss,
    peakAnonMegabytes: peak.anon,
  };
}

interface Memory {
  /** The largest so far. */
  readonly rss: number;
  /** Now. */
  readonly anon: number;
}

/** 0 for a process that has ended. */
function memoryOfChild(shell: number): Memory {
  try {
    const child = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim();
    const status = readFileSync(`/proc/${child}/status`, 'utf8');
    return { rss: megabytes(status, 'VmHWM'), anon: megabytes(status, 'RssAnon') };
  } catch {
    return { rss: 0, anon: 0 };
  }
}

/** The largest RSS so far (proc(5), VmHWM). */
export function peakMegabytes(pid: number): number {
  return megabytes(readFileSync(`/proc/${pid}/status`, 'utf8'), 'VmHWM');
}

function megabytes(status: string, field: string): number {
  const [, kilobytes = 0] = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status) ?? [];
  return (Number(kilobytes) * 1024) / 1e6;
}
