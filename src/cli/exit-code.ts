import { AgentError } from '../core/errors.ts';

/** Stable, because scripts and monitoring depend on them. */
export const exitCodes = {
  fine: 0,
  error: 1,
  usage: 2,
  expiring: 3,
  expired: 4,
  ignored: 5,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The meanings of the exit codes that a command uses. */
export type ExitCodeMeanings = Readonly<Partial<Record<ExitCode, string>>>;

/** For commands without their own meanings. */
export const commonExitCodes = {
  0: 'success',
  1: 'an error; the message says which',
  2: 'wrong usage',
} as const satisfies ExitCodeMeanings;

/** For the program as a whole. */
export const programExitCodes: ExitCodeMeanings = {
  ...commonExitCodes,
  3: 'a warning; see the help of the command',
  4: 'a serious problem; see the help of the command',
  5: 'approver explain: the CSR would be ignored',
};

export function formatExitCodes(meanings: ExitCodeMeanings): string {
  const lines = Object.entries(meanings).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return ['Exit codes:', ...lines].join('\n');
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof AgentError && error.code === 'USAGE' ? exitCodes.usage : exitCodes.error;
}
