import { AgentError } from '../core/errors.ts';
import type { CliContext } from './context.ts';

/**
 * Asks before a command changes files. True with `--yes`.
 * @throws AgentError USAGE without a terminal
 */
export async function isConfirmed(
  question: string,
  { yes, context }: { readonly yes: boolean; readonly context: CliContext },
): Promise<boolean> {
  if (yes) return true;
  if (context.ask === undefined) {
    throw new AgentError('USAGE', 'without a terminal, this command needs --yes or --dry-run', {
      remedy: 'Show the plan with --dry-run, then run the same command with --yes',
    });
  }
  const answer = await context.ask(`${question} [y/N] `);
  return /^y(?:es)?$/i.test(answer.trim());
}
