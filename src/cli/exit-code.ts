import { AgentError } from '../core/errors.ts';

/** Stable, because scripts and monitoring depend on them. */
export const exitCodes = { fine: 0, error: 1, usage: 2, expiring: 3, expired: 4 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The meaning of each code. */
export type ExitCodeMeanings = Readonly<Record<ExitCode, string>>;

/** The meanings for commands without their own. */
export const exitCodeMeanings: ExitCodeMeanings = {
  0: 'success',
  1: 'an error; the message says which',
  2: 'wrong usage',
  3: 'a certificate has less than 10 % of its lifetime left, or its rotation is overdue',
  4: 'a certificate is expired, invalid, or missing',
};

export const exitCodeHelp = formatExitCodes(exitCodeMeanings);

export function formatExitCodes(meanings: ExitCodeMeanings): string {
  const lines = Object.entries(meanings).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return ['Exit codes:', ...lines].join('\n');
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof AgentError && error.code === 'USAGE' ? exitCodes.usage : exitCodes.error;
}
