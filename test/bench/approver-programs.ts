import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { findProgram } from '../support/programs.ts';
import { nodecertd } from './inventory.ts';

export interface ApproverPlace {
  /** Of the service account with the permissions of the approver. */
  readonly kubeconfig: string;
  readonly adminKubeconfig: string;
  /** In which the service account may write a Lease. */
  readonly namespace: string;
  readonly directory: string;
}

/** A program that approves serving CSRs. */
export interface ApproverProgram {
  readonly name: string;
  readonly command: string;
  args(place: ApproverPlace): readonly string[];
  /** With leader election; absent if it cannot elect a leader outside a cluster. */
  electing?(place: ApproverPlace): readonly string[];
}

/**
 * The programs to compare. The ratios refer to the first one. The Go module proxy does not serve the
 * modules of the other approvers, so they are not built here, and only those on PATH run.
 */
export function approverPrograms(): ApproverProgram[] {
  return [
    raw,
    ours,
    ...onPath('kubelet-csr-approver').map((program) => ({ ...program, ...postfinance })),
    ...onPath('kubelet-serving-csr-approver').map((program) => ({ ...program, args: phuLoc })),
  ];
}

function onPath(name: string): Pick<ApproverProgram, 'name' | 'command'>[] {
  const command = findProgram(name);
  return command === undefined ? [] : [{ name, command }];
}

/** What the API server can do: see raw-approver.ts. */
const raw: ApproverProgram = {
  name: 'raw',
  command: process.execPath,
  args: ({ kubeconfig }) => [join(import.meta.dirname, 'raw-approver.ts'), kubeconfig],
};

const ours: ApproverProgram = {
  name: 'nodecertd',
  command: nodecertd,
  args: nodecertdArgs,
  electing: nodecertdArgs,
};

/** All checks, and no limit of decisions per second, because the other programs have none. */
function nodecertdArgs({ kubeconfig, namespace, directory }: ApproverPlace): string[] {
  const policy = join(directory, 'approver-policy.yaml');
  const header = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'ApproverPolicy' };
  writeFileSync(policy, stringify({ ...header, maxDecisionsPerSecond: 0 }));
  const place = ['--kubeconfig', kubeconfig, '--lease-namespace', namespace, '--policy', policy];
  return ['approver', ...place, '--metrics-address', '127.0.0.1:0'];
}

/** github.com/postfinance/kubelet-csr-approver. The nodes of the benchmark are not in the DNS. */
const postfinance = {
  args: ({ kubeconfig }: ApproverPlace) => [...withoutDns, `--kubeconfig=${kubeconfig}`],
  // Outside a cluster, its Lease is in kube-system.
  electing: ({ adminKubeconfig }: ApproverPlace) => [
    ...withoutDns,
    `--kubeconfig=${adminKubeconfig}`,
    '--leader-election',
  ],
};
const noServers = ['--metrics-bind-address=0', '--health-probe-bind-address=0'];
const withoutDns = [...noServers, '--bypass-dns-resolution'];

/** github.com/TruongHoangPhuLoc/kubelet-serving-csr-approver */
function phuLoc({ kubeconfig }: ApproverPlace): string[] {
  return [...noServers, `--kubeconfig=${kubeconfig}`];
}
