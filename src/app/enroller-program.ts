import type { EnrollerProgram } from '../agent/fork-enroller.ts';

/**
 * This program in its other role; see main.ts. Room for young objects spares a
 * process that lives for a second most of its garbage collections.
 */
export const enrollerProgram: EnrollerProgram = {
  program: process.argv[1] ?? '',
  args: ['enroller'],
  execArgv: ['--min-semi-space-size=16'],
};
