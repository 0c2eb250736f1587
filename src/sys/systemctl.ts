import type { ExecFileException } from 'node:child_process';
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { hasErrno } from '../core/errors.ts';
import { minute, second } from '../core/instant.ts';
import { printable } from '../core/printable.ts';

/**
 * The path of systemctl, from the places where distributions install it. Does not search PATH,
 * because PATH must not determine which program runs as root.
 */
export async function systemctlPath(): Promise<string> {
  for (const path of places) {
    const exists = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return places[0];
}

const places = [
  '/usr/bin/systemctl',
  '/bin/systemctl',
  '/run/current-system/sw/bin/systemctl',
] as const;

export interface SystemctlOptions {
  readonly signal?: AbortSignal;
  /** The path of systemctl; systemctlPath() by default. */
  readonly systemctl?: string | undefined;
  /**
   * Milliseconds until systemctl is killed; a service with a long TimeoutStopSec= restarts
   * slowly.
   */
  readonly timeoutMs?: number;
}

export type SystemctlResult =
  | { readonly kind: 'done'; readonly output: string }
  | { readonly kind: 'failed'; readonly reason: string };

/** Runs systemctl to its end. Never rejects: an aborted run counts as failed. */
export async function runSystemctl(
  args: readonly string[],
  { signal, systemctl, timeoutMs = 5 * minute }: SystemctlOptions,
): Promise<SystemctlResult> {
  const program = systemctl ?? (await systemctlPath());
  return new Promise((resolve) => {
    execFile(program, args, { signal, timeout: timeoutMs }, (error, stdout, stderr) => {
      if (error === null) return resolve({ kind: 'done', output: stdout });
      resolve({ kind: 'failed', reason: reasonOf(error, stderr) });
    });
  });
}

function reasonOf(error: ExecFileException, stderr: string): string {
  if (hasErrno(error, 'ENOENT')) return 'systemctl is not installed';
  if (error.killed === true) return 'it was killed or timed out';
  return printable(stderr, 200);
}

/** Properties of a unit. A property that systemctl prints several times has several values. */
export type UnitProperties = ReadonlyMap<string, readonly string[]>;

export type UnitResult = SystemctlResult & { readonly properties: UnitProperties };

/** `systemctl show`, which reports a unit that does not exist with LoadState=not-found. */
export async function showUnit(
  unit: string,
  properties: readonly string[],
  options: SystemctlOptions,
): Promise<UnitResult> {
  const [result] = await showUnits([unit], properties, options);
  return result ?? { kind: 'failed', reason: 'systemctl printed nothing', properties: new Map() };
}

/** The results are in the order of the units. */
export async function showUnits(
  units: readonly string[],
  properties: readonly string[],
  options: SystemctlOptions,
): Promise<UnitResult[]> {
  const args = ['show', ...units, ...properties.map((name) => `-p${name}`)];
  const result = await runSystemctl(args, { timeoutMs: 10 * second, ...options });
  // A blank line separates the units.
  const blocks = result.kind === 'done' ? result.output.split(/^\n/m) : [];
  return units.map((_, at) => ({ ...result, properties: propertiesIn(blocks[at] ?? '') }));
}

function propertiesIn(block: string): UnitProperties {
  const values = block.split('\n').flatMap((line) => {
    const { name, value } = /^(?<name>\w+)=(?<value>.*)$/.exec(line)?.groups ?? {};
    return name === undefined || value === undefined ? [] : [[name, value] as const];
  });
  const grouped = Map.groupBy(values, ([name]) => name);
  return new Map([...grouped].map(([name, all]) => [name, all.map(([, value]) => value)] as const));
}
