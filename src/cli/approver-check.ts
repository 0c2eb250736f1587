import type { Command } from 'commander';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { clusterObjects } from '../approver/cluster-objects.ts';
import type { ClusterObjects } from '../approver/cluster-objects.ts';
import { machineIndexOf } from '../approver/machine-index.ts';
import type { ReplayedCsr } from '../approver/replay.ts';
import { replay } from '../approver/replay.ts';
import { policyDigest } from '../approver/policy-digest.ts';
import { AgentError } from '../core/errors.ts';
import { loadApproverPolicy } from '../config/approver-policy.ts';
import { sourcesOf } from './approver-options.ts';
import type { CliContext } from './context.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import { parseFoundObject, readObjectFiles } from './object-files.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { alignColumns, oneLine } from './text.ts';

interface CheckOptions {
  readonly policy: string;
  readonly output: OutputFormat;
}

export const exitCodes: ExitCodeMeanings = {
  0: 'the policy is valid and agrees with every recorded decision',
  1: 'an error, such as an invalid policy; the message says which',
  2: 'wrong usage',
  4: 'an approved CSR would not be approved, or a denied one would be',
};

/** `nodecertd approver check`: a policy against saved CSRs. Needs no cluster. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  command
    .argument('<dir>', 'folder with the output of kubectl get csr,nodes -o yaml')
    .requiredOption('--policy <file>', 'policy file')
    .addOption(outputOption())
    .action(async (directory: string, { policy: file, output }: CheckOptions) => {
      const policy = await loadApproverPolicy(file);
      const objects = await readObjects(directory);
      const sources = await sourcesOf(policy, machineIndexOf(objects.machines));
      const replayed = replay(objects, { policy, sources });
      const document = {
        apiVersion: 'nodecertd.io/v1alpha1',
        kind: 'ApproverCheck',
        policy: { digest: policyDigest(policy), mode: policy.mode },
        csrs: replayed,
      };
      context.stdout.write(await print(output, document, () => table(replayed)));
      exit(replayed.some(({ differs }) => differs) ? codes.expired : codes.fine);
    });
}

/** @throws AgentError CONFIG_UNREADABLE, CONFIG_INVALID */
async function readObjects(directory: string): Promise<ClusterObjects> {
  const files = (await namesIn(directory)).filter((name) => /\.(?:ya?ml|json)$/.test(name)).sort();
  const found = await readObjectFiles(files.map((name) => join(directory, name)));
  const objects = clusterObjects(found, parseFoundObject);
  if (objects.csrs.length > 0) return objects;
  throw new AgentError('CONFIG_INVALID', `the folder ${directory} has no saved CSR`, {
    remedy: `Save the objects of a cluster: kubectl get csr,nodes -o yaml > ${join(directory, 'cluster.yaml')}`,
  });
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    throw new AgentError('CONFIG_UNREADABLE', `the folder ${directory} cannot be read`, {
      cause: error,
      remedy: 'Name a folder that exists and that you may read',
    });
  }
}

function table(replayed: readonly ReplayedCsr[]): string {
  const rows = replayed.map(({ name, node, recorded, outcome, reason, finding, differs }) =>
    [name, node, recorded, `${outcome}${differs ? ' (differs)' : ''}`, reason, finding].map(
      oneLine,
    ),
  );
  const header = ['CSR', 'NODE', 'RECORDED', 'OUTCOME', 'REASON', 'FINDING'];
  return `${[...alignColumns([header, ...rows]), '', summary(replayed)].join('\n')}\n`;
}

function summary(replayed: readonly ReplayedCsr[]): string {
  const count = replayed.length === 1 ? '1 CSR' : `${replayed.length} CSRs`;
  const different = replayed.filter(({ differs }) => differs).length;
  if (different === 0) return `${count}; the policy agrees with every recorded decision`;
  return `${count}; the policy differs from ${different} recorded ${different === 1 ? 'decision' : 'decisions'}`;
}
