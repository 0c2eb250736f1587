import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { controlPlaneDirectory } from '../support/programs.ts';
import type { Usage } from './program-usage.ts';
import { usageOf } from './program-usage.ts';
import type { ClusterSize } from './rollover-cluster.ts';
import { startRolloverCluster } from './rollover-cluster.ts';
import type { Row } from './table.ts';
import { median } from './table.ts';

export const rolloverPrograms = ['kubectl', 'nodecertd'];

export interface RolloverOptions extends ClusterSize {
  readonly directory: string;
  readonly repetitions: number;
}

const nodecertd = join(import.meta.dirname, '../../dist/nodecertd');

/**
 * The gates of a large cluster, beside kubectl, which reads only the Nodes and namespaces and judges
 * nothing. No kubelet runs, so none is dialed.
 */
export async function measureRolloverStatus({
  directory,
  repetitions,
  ...size
}: RolloverOptions): Promise<Row[]> {
  await using rollover = await startRolloverCluster(size);
  const kubeconfig = join(directory, 'rollover.conf');
  await writeFile(kubeconfig, await rollover.plane.adminKubeconfig(), { mode: 0o600 });
  const kubectl = join(controlPlaneDirectory(), 'kubectl');
  const flags = [`--kubeconfig=${kubeconfig}`, '--output=json'];
  const status = ['ca-rollover', 'status', ...flags, '--no-dial'];
  const programs = [
    () => usageOf(kubectl, ['get', 'nodes,namespaces', ...flags]),
    // With the code 3, a gate is closed.
    () => usageOf(nodecertd, status, [3]),
  ];
  const runs = programs.map((): Usage[] => []);
  for (let round = 0; round < repetitions; round += 1) {
    for (const [index, run] of programs.entries()) runs[index]?.push(await run());
  }
  const row = (label: string, pick: (usage: Usage) => number | undefined, digits: number): Row => ({
    label: `${size.nodes} Nodes, ${size.namespaces} namespaces: ${label} (median of ${repetitions})`,
    values: runs.map((usages) => median(usages.map((usage) => pick(usage) ?? Number.NaN))),
    digits,
  });
  return [
    row('wall time, s', ({ wallSeconds }) => wallSeconds, 2),
    row('CPU, s', ({ cpuSeconds }) => cpuSeconds, 2),
    row('peak RssAnon, MB', ({ peakAnonMegabytes }) => peakAnonMegabytes, 0),
    row('peak RSS, MB', ({ peakMegabytes }) => peakMegabytes, 0),
  ];
}
