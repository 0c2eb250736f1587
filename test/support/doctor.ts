import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { FindingId, DoctorFinding } from '../../src/core/findings.ts';

export interface DoctorRun {
  readonly code: number;
  readonly findings: readonly (DoctorFinding & { readonly group: string })[];
  readonly username?: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `nodecertd doctor -o json`. */
export async function doctorReport(...args: readonly string[]): Promise<DoctorRun> {
  const { code, stdout, stderr } = await doctor('-o', 'json', ...args);
  const report = (stdout === '' ? { findings: [] } : JSON.parse(stdout)) as Pick<
    DoctorRun,
    'findings' | 'username'
  >;
  return { ...report, code, stdout, stderr };
}

/** Without the control plane and the kubeconfigs of this machine, unless the arguments name them. */
export async function doctor(...args: readonly string[]): Promise<Ended> {
  const none = '/nonexistent';
  return run(['doctor', '--kubernetes-dir', none, ...args], { ...process.env, HOME: none });
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program itself, from its sources. */
export async function nodecertd(...args: readonly string[]): Promise<Ended> {
  return run(args, process.env);
}

/** The same, with variables that the environment of the test does not have. */
export async function nodecertdWith(
  env: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<Ended> {
  return run(args, { ...process.env, ...env });
}

async function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  const main = join(import.meta.dirname, '../../src/main.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** Returns problems as sorted strings, such as `error pair-expired`. */
export function problemsOf({
  findings,
}: {
  readonly findings: readonly DoctorFinding[];
}): string[] {
  return findings
    .filter(({ severity }) => severity === 'error' || severity === 'warning')
    .map(({ severity, id }) => `${severity} ${id}`)
    .sort();
}

export function findingOf({ findings, stdout }: DoctorRun, id: FindingId): DoctorFinding {
  const found = findings.find((finding) => finding.id === id);
  if (found === undefined) throw new Error(`no ${id} in ${stdout}`);
  return found;
}
