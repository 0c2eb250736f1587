import { execFile } from 'node:child_process';
import { copyFile, link, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { hasErrno } from '../../src/core/errors.ts';
import { controlPlaneDirectory, isExecutable, skip } from './programs.ts';
import { scaled } from './machine-speed.ts';

export function kubeletProgram(): string {
  return join(controlPlaneDirectory(), 'kubelet');
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutRealKubelet(): string | false {
  if (!isExecutable(kubeletProgram())) {
    return skip('tests on a real kubelet: not built (make control-plane)');
  }
  return process.geteuid?.() === 0 ? false : skip('tests on a real kubelet: chroot needs root');
}

export interface KubeletRun {
  /**
   * The effective configuration from file, drop-ins and flags; undefined if the kubelet
   * could not read it.
   */
  readonly effective?: Readonly<Record<string, unknown>>;
  /** All of its output. */
  readonly output: string;
}

/**
 * Starts the kubelet with chroot in the folder of a node. It logs its effective
 * configuration, and exits because it cannot run there.
 */
export async function runKubelet(root: string, args: readonly string[]): Promise<KubeletRun> {
  const program = '/usr/bin/kubelet';
  await mkdir(dirname(join(root, program)), { recursive: true });
  await link(kubeletProgram(), join(root, program)).catch(async (error: unknown) => {
    if (hasErrno(error, 'EXDEV')) await copyFile(kubeletProgram(), join(root, program));
    else if (!hasErrno(error, 'EEXIST')) throw error;
  });
  const output = await new Promise<string>((resolve) => {
    const options = { timeout: scaled(30_000), killSignal: 'SIGKILL', maxBuffer: 2 ** 24 } as const;
    execFile('chroot', [root, program, ...args], options, (_, stdout, stderr) => {
      resolve(stdout + stderr);
    });
  });
  const shown = /"Effective KubeletConfiguration" config=<\n(?<yaml>(?:\t.*\n)+) >/.exec(output);
  const text = shown?.groups?.['yaml']?.replace(/^\t/gm, '');
  if (text === undefined) return { output };
  return { effective: parse(text) as Readonly<Record<string, unknown>>, output };
}
