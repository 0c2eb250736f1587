import { AgentError } from '../core/errors.ts';

/** Stable: scripts and monitoring are written against them. */
export const exitCodes = { fine: 0, error: 1, usage: 2, expiring: 3, expired: 4 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What each code says: of every command that has no meanings of its own. */
export type ExitCodeMeanings = Readonly<Record<ExitCode, string>>;

export const exitCodeMeanings: ExitCodeMeanings = {
  0: 'fine',
  1: 'an error, which is printed',
  2: 'wrong usage',
  3: 'a certificate has less than 10 % of its lifetime left, or its rotation is overdue',
  4: 'a certificate is expired, invalid or missing',
};

export const exitCodeHelp = formatExitCodes(exitCodeMeanings);

export function formatExitCodes(meanings: ExitCodeMeanings): string {
  const lines = Object.entries(meanings).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return ['Exit codes:', ...lines].join('\n');
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof AgentError && error.code === 'USAGE' ? exitCodes.usage : exitCodes.error;
}
