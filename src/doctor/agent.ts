import { readFile, readdir, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentConfig } from '../core/config.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { lockFile } from '../store/directory-lock.ts';
import { peekState } from '../store/state-file.ts';
import { isForbidden, unlessMissing } from '../sys/file-error.ts';
import { asAgentUser } from './check.ts';

/** The agent that holds the certificate directory, and the program on the metrics port. */
export interface AgentFacts {
  readonly directory: string;
  readonly holder?: LockHolder;
  /** Pid of the agent that last wrote state.json of this configuration. */
  readonly ours?: number;
  readonly metricsAddress: string;
  readonly metricsPort: MetricsPort;
}

/** Pid of the process that has the lock file open; 'hidden' if this user may not see that. */
export type LockHolder = number | 'hidden';

/** `by` describes the program that uses the port. */
export type MetricsPort =
  | { readonly kind: 'free' }
  | { readonly kind: 'ours' }
  | { readonly kind: 'taken'; readonly by: string };

/** Only reads the lock file: an agent that starts at this moment would fail if the doctor took the lock. */
export async function lockHolder({
  certificateDirectory,
}: AgentConfig): Promise<LockHolder | undefined> {
  return unlessForbidden(async () => {
    const lock = await unlessMissing(() => realpath(join(certificateDirectory, lockFile)));
    if (lock === undefined) return undefined;
    const pid = (await readFile(lock, 'utf8')).trim();
    // The pid stays in the file after its process has ended, so the open file decides.
    return /^\d+$/.test(pid) && (await hasOpen(pid, lock)) ? Number(pid) : undefined;
  });
}

/** Another user than root may see neither the files of the agent nor those that it has open. */
async function unlessForbidden<T>(read: () => Promise<T>): Promise<T | 'hidden'> {
  try {
    return await read();
  } catch (error) {
    if (isForbidden(error)) return 'hidden';
    throw error;
  }
}

async function hasOpen(pid: string, file: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const descriptors = (await unlessMissing(() => readdir(folder))) ?? [];
  const targets = await Promise.all(
    descriptors.map((name) => readlink(join(folder, name)).catch(() => '')),
  );
  return targets.includes(file);
}

/** Pid of the process that wrote state.json of this configuration, if this user may read it; it may have ended. */
export async function writerOfState({ stateDirectory }: AgentConfig): Promise<number | undefined> {
  const state = await unlessForbidden(() => peekState(stateDirectory));
  return state === 'hidden' ? undefined : state?.pid;
}

export function agentFindings(facts: AgentFacts): DoctorFinding[] {
  return [...holderFindings(facts), ...portFindings(facts)];
}

function holderFindings({ directory, holder, ours }: AgentFacts): DoctorFinding[] {
  if (holder === undefined) {
    return [
      {
        id: 'agent',
        severity: 'info',
        what: `no agent is running for ${directory}`,
        remedy: 'Start the agent: systemctl start nodecertd',
      },
    ];
  }
  if (holder === 'hidden') {
    return [
      {
        id: 'agent',
        severity: 'info',
        what: `this user may not see whether an agent is running for ${directory}`,
        remedy: asAgentUser,
      },
    ];
  }
  if (ours === undefined || holder === ours) {
    const what = `the agent with pid ${holder} is running for ${directory}`;
    return [{ id: 'agent', severity: 'ok', what }];
  }
  return [
    {
      id: 'second-agent',
      severity: 'warning',
      what: `${directory} is locked by the agent with pid ${holder}, which has another configuration`,
      why: 'An agent with this configuration cannot start',
      remedy: `Stop the other agent (ps -fp ${holder}), or set another certificateDirectory (--cert-dir)`,
    },
  ];
}

function portFindings({ metricsAddress, metricsPort }: AgentFacts): DoctorFinding[] {
  if (metricsPort.kind !== 'taken') return [];
  return [
    {
      id: 'metrics-port-taken',
      severity: 'error',
      what: `the metrics address ${metricsAddress} is in use by ${metricsPort.by}`,
      why: 'The agent cannot start',
      remedy: `Stop the other program (ss -ltnp 'sport = :${metricsAddress.replace(/^.*:/, '')}'), or set another metrics.address (--metrics-address)`,
    },
  ];
}
