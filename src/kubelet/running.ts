import type { Instant } from '../core/instant.ts';
import type { Process } from '../sys/process.ts';
import type { UnitProperties } from '../sys/systemctl.ts';
import { showUnit } from '../sys/systemctl.ts';
import { monotonicUptime } from '../sys/uptime.ts';
import { findKubelets } from './process.ts';
import type { KubeletPlaces } from './start.ts';

export type RunningKubelet =
  | {
      readonly kind: 'running';
      /** Changes with each start, and with nothing else. */
      readonly instance: string;
      readonly startedAt: Instant;
      /** The service to restart. Absent if no service started the kubelet. */
      readonly unit?: string;
    }
  /** Its service does not run. */
  | { readonly kind: 'stopped' }
  /** This process sees neither a kubelet nor its service. */
  | { readonly kind: 'unknown' };

/**
 * Identifies the kubelet of this machine, to find out later whether it was restarted. The sandbox of
 * the agent hides processes, so systemd is the source for a kubelet that a service started.
 */
export async function findRunningKubelet(
  { proc, systemctl }: KubeletPlaces,
  now: Instant,
): Promise<RunningKubelet> {
  const [process] = await findKubelets(proc);
  const unit = process === undefined ? 'kubelet.service' : process.unit;
  const service = unit === undefined ? undefined : await serviceOf(unit, systemctl);
  if (service !== undefined && (process === undefined || process.pid === service.pid)) {
    const { pid, instance, startedAfterBoot } = service;
    if (pid === 0) return { kind: 'stopped' };
    const startedAt = now - (monotonicUptime() - startedAfterBoot);
    return { kind: 'running', instance, startedAt, ...(unit !== undefined && { unit }) };
  }
  return process === undefined ? { kind: 'unknown' } : withoutService(process, now);
}

interface Service {
  /** 0 if it does not run. */
  readonly pid: number;
  /** systemd's InvocationID, which each start changes. */
  readonly instance: string;
  /** Milliseconds. */
  readonly startedAfterBoot: number;
}

const names = ['LoadState', 'MainPID', 'InvocationID', 'ExecMainStartTimestampMonotonic'];

async function serviceOf(
  unit: string,
  systemctl: string | undefined,
): Promise<Service | undefined> {
  const { kind, properties } = await showUnit(unit, names, { systemctl });
  if (kind === 'failed' || valueOf(properties, 'LoadState') !== 'loaded') return undefined;
  return {
    pid: Number(valueOf(properties, 'MainPID')),
    instance: valueOf(properties, 'InvocationID'),
    startedAfterBoot: Number(valueOf(properties, 'ExecMainStartTimestampMonotonic')) / 1_000,
  };
}

function valueOf(properties: UnitProperties, name: string): string {
  return properties.get(name)?.[0] ?? '';
}

function withoutService({ pid, startTicks, ageMs }: Process, now: Instant): RunningKubelet {
  return { kind: 'running', instance: `${pid}:${startTicks}`, startedAt: now - ageMs };
}
