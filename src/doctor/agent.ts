import { readFile, readdir, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentConfig } from '../core/config.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { lockFile } from '../store/directory-lock.ts';
import { peekState } from '../store/state-file.ts';
import { unlessMissing } from '../sys/file-error.ts';

/** Who works on the certificate directory, and who on the port of the metrics. */
export interface AgentFacts {
  readonly directory: string;
  /** The process that has the lock file open. */
  readonly holder?: number;
  /** The agent that last wrote the state of this configuration. */
  readonly ours?: number;
  readonly metricsAddress: string;
  readonly metricsPort: MetricsPort;
}

/** 'taken' comes with who is there, as far as it says so. */
export type MetricsPort =
  | { readonly kind: 'free' }
  | { readonly kind: 'ours' }
  | { readonly kind: 'taken'; readonly by: string };

/** Reads without locking: even a lock held for a moment could turn an agent away that starts just then. */
export async function lockHolder({
  certificateDirectory,
}: AgentConfig): Promise<number | undefined> {
  const lock = await unlessMissing(() => realpath(join(certificateDirectory, lockFile)));
  if (lock === undefined) return undefined;
  const pid = (await readFile(lock, 'utf8')).trim();
  // The number stays in the file when its process is gone; what counts is who has the file open.
  return /^\d+$/.test(pid) && (await hasOpen(pid, lock)) ? Number(pid) : undefined;
}

async function hasOpen(pid: string, file: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const descriptors = (await unlessMissing(() => readdir(folder))) ?? [];
  const targets = await Promise.all(
    descriptors.map((name) => readlink(join(folder, name)).catch(() => '')),
  );
  return targets.includes(file);
}

/** The process that wrote the state file of this configuration; it may be gone. */
export async function writerOfState({ stateDirectory }: AgentConfig): Promise<number | undefined> {
  return (await peekState(stateDirectory))?.pid;
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
        what: `no agent works on ${directory} now`,
        remedy: 'systemctl start nodecertd',
      },
    ];
  }
  if (ours === undefined || holder === ours) {
    const what = `the agent with pid ${holder} works on ${directory}`;
    return [{ id: 'agent', severity: 'ok', what }];
  }
  return [
    {
      id: 'second-agent',
      severity: 'warning',
      what: `${directory} is locked by the agent with pid ${holder}, which has another configuration than this one`,
      why: 'An agent with this configuration cannot start',
      remedy: `ps -fp ${holder}; stop that agent, or give this one a directory of its own`,
    },
  ];
}

function portFindings({ metricsAddress, metricsPort }: AgentFacts): DoctorFinding[] {
  if (metricsPort.kind !== 'taken') return [];
  return [
    {
      id: 'metrics-port-taken',
      severity: 'error',
      what: `the metrics address ${metricsAddress} is taken by ${metricsPort.by}`,
      why: 'The agent cannot start',
      remedy: `ss -ltnp 'sport = :${metricsAddress.replace(/^.*:/, '')}'; stop what listens there, or set metrics.address (--metrics-address)`,
    },
  ];
}
