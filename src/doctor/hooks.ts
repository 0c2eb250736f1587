import { access, constants } from 'node:fs/promises';
import type { AgentConfig } from '../core/config.ts';
import { hasErrno } from '../core/errors.ts';
import { hookCommand, hookNames } from '../core/hooks.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { Exposure } from '../sys/exposure.ts';
import { exposureOf } from '../sys/exposure.ts';
import { systemctlPath } from '../sys/systemctl.ts';

/** The configured hooks, and whether other users can change their programs. */
export interface HookFacts {
  /** The configuration file, and why users other than root can change it. */
  readonly file?: string;
  readonly exposure?: Exposure;
  readonly programs: readonly ProgramFacts[];
}

export interface ProgramFacts {
  readonly certificate: string;
  readonly hook: string;
  readonly path: string;
  readonly state: 'runnable' | 'missing' | 'not-executable';
  readonly exposure?: Exposure;
}

export async function inspectHooks(config: AgentConfig): Promise<HookFacts> {
  const { file, certificates } = config;
  const systemctl = await systemctlPath();
  const wanted = certificates.flatMap(({ name: certificate, onRotate = [] }) => {
    const names = hookNames(onRotate);
    return onRotate.map((hook, index) => ({
      certificate,
      hook: names[index] ?? '',
      path: hookCommand(hook, systemctl)[0] ?? '',
    }));
  });
  const programs = await Promise.all(wanted.map(inspectProgram));
  const exposure = file === undefined ? undefined : await exposureOf(file);
  return {
    ...(file !== undefined && { file }),
    ...(exposure !== undefined && { exposure }),
    programs,
  };
}

async function inspectProgram(
  program: Pick<ProgramFacts, 'certificate' | 'hook' | 'path'>,
): Promise<ProgramFacts> {
  const { path } = program;
  try {
    const exposure = await exposureOf(path);
    await access(path, constants.X_OK);
    return { ...program, state: 'runnable', ...(exposure !== undefined && { exposure }) };
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return { ...program, state: 'missing' };
    if (hasErrno(error, 'EACCES', 'EPERM')) return { ...program, state: 'not-executable' };
    throw error;
  }
}

export function hookFindings(facts: HookFacts): DoctorFinding[] {
  const { file, exposure, programs } = facts;
  if (programs.length === 0) return [];
  const findings = [
    ...(exposure === undefined ? [] : [refused(exposure)]),
    ...programs.flatMap(programFindings),
  ];
  if (findings.length > 0) return findings;
  const from = file === undefined ? '' : ` and ${file}`;
  return [
    {
      id: 'hooks',
      severity: 'ok',
      what: `only root can change ${count(programs.length)}${from}`,
    },
  ];
}

function refused({ what, remedy }: Exposure): DoctorFinding {
  return {
    id: 'hooks-refused',
    severity: 'error',
    what: `hooks are disabled: ${what}`,
    why: 'Anyone who can change the configuration can run commands as root. Servers do not reload new certificates until its permissions are fixed',
    remedy: `${remedy}, then: systemctl restart nodecertd`,
  };
}

function programFindings(program: ProgramFacts): DoctorFinding[] {
  const { certificate: subject, hook, path, state, exposure } = program;
  if (exposure !== undefined) {
    return [
      {
        id: 'hook-refused',
        severity: 'error',
        subject,
        what: `the hook ${hook} is disabled: ${exposure.what}`,
        why: 'Anyone who can change the program can run commands as root. The server keeps the old certificate until the permissions are fixed',
        remedy: exposure.remedy,
      },
    ];
  }
  if (state === 'runnable') return [];
  return [
    {
      id: 'hook-missing',
      severity: 'warning',
      subject,
      what: `the hook ${hook} cannot run: ${path} ${state === 'missing' ? 'does not exist' : 'is not executable'}`,
      why: 'The hook fails after the next rotation, and the server keeps the old certificate',
      remedy:
        state === 'missing'
          ? `Install ${path}, or correct onRotate in the configuration`
          : `Make it executable: chmod +x ${path}`,
    },
  ];
}

function count(programs: number): string {
  return programs === 1 ? 'the program of the hook' : `the programs of the ${programs} hooks`;
}
