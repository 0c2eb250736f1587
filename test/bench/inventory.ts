import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { writeCertificateFiles } from './certificate-files.ts';
import type { Row } from './table.ts';
import { median } from './table.ts';

interface Usage {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly peakMegabytes: number;
}

export const inventoryPrograms = ['plain loop', 'nodecertd'];

/**
 * Lists a folder of PEM files with a plain loop over node:crypto and with the released program.
 * They alternate, so that none profits from a warmer machine.
 */
export async function measureInventory(
  directory: string,
  { files, repetitions }: { readonly files: number; readonly repetitions: number },
): Promise<Row[]> {
  const folder = join(directory, 'certificates');
  await writeCertificateFiles(folder, files);
  const programs = [
    () => usageOf(process.execPath, [join(import.meta.dirname, 'certificate-loop.mjs'), folder]),
    () => usageOf(nodecertd, [...listing, '--path', join(folder, '**/*.pem')]),
  ];
  const runs = programs.map((): Usage[] => []);
  for (let round = 0; round < repetitions; round += 1) {
    for (const [index, run] of programs.entries()) runs[index]?.push(run());
  }
  const row = (label: string, pick: (usage: Usage) => number, digits: number): Row => ({
    label: `${files} PEM files: ${label} (median of ${repetitions})`,
    values: runs.map((usages) => median(usages.map(pick))),
    digits,
  });
  return [
    row('CPU, s', ({ cpuSeconds }) => cpuSeconds, 2),
    row('wall time, s', ({ wallSeconds }) => wallSeconds, 2),
    row('peak RSS, MB', ({ peakMegabytes }) => peakMegabytes, 0),
  ];
}

const nodecertd = join(import.meta.dirname, '../../dist/nodecertd');
const listing = ['certs', 'check-expiration', '--no-dial', '--output', 'prometheus'];

/** @throws if the program fails */
function usageOf(program: string, args: readonly string[]): Usage {
  const { stderr, status } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    env: {
      ...process.env,
      NODE_OPTIONS: `--require=${join(import.meta.dirname, 'report-usage.cjs')}`,
    },
  });
  const last = stderr.trimEnd().split('\n').at(-1) ?? '';
  // With the codes 3 and 4, the list has certificates of this machine that need attention.
  if (status === null || ![0, 3, 4].includes(status)) throw new Error(`${program}: ${stderr}`);
  return JSON.parse(last) as Usage;
}
