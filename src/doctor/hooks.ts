import { access, constants } from 'node:fs/promises';
import type { AgentConfig } from '../core/config.ts';
import { hasErrno } from '../core/errors.ts';
import { hookCommand, hookNames } from '../core/hooks.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { Exposure } from '../sys/exposure.ts';
import { exposureOf } from '../sys/exposure.ts';
import { systemctlPath } from '../sys/systemctl.ts';

/** What is configured to run after rotations, and who else decides what that is. */
export interface HookFacts {
  /** The configuration, and why others than root may change it. */
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
  // Whoever may change a file without hooks in it may put some there.
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
      what: `only root may change ${count(programs.length)}${from}`,
    },
  ];
}

function refused({ what, remedy }: Exposure): DoctorFinding {
  return {
    id: 'hooks-refused',
    severity: 'error',
    what: `the agent runs no hooks: ${what}`,
    why: 'Whoever may change the configuration would decide what runs as root; servers are not told of new certificates meanwhile',
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
        what: `the agent does not run the hook ${hook}: ${exposure.what}`,
        why: 'Whoever may change the program would decide what runs as root; who is to be told by it goes on with the old certificate',
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
      what: `the hook ${hook} cannot be run: ${path} ${state === 'missing' ? 'does not exist' : 'may not be executed'}`,
      why: 'It fails after the next rotation, and who is to be told by it goes on with the old certificate',
      remedy: state === 'missing' ? `ls -l ${path}` : `chmod +x ${path}`,
    },
  ];
}

function count(programs: number): string {
  return programs === 1 ? 'the program of the hook' : `the programs of the ${programs} hooks`;
}
