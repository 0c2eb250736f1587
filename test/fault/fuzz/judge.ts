import { inspect } from 'node:util';
import { AgentError, errorCodes, toFailure } from '../../../src/core/errors.ts';
import { pieceLength } from './secrets.ts';

/** The code of a correct error, or its problem. */
export type Judgment = { readonly code: string } | { readonly complaint: string };

/** A configuration error may have fifty lines, each with a path, a key and the allowed values. */
const longestMessage = 32 * 1024;

/**
 * Every error must be an AgentError with a code other than INTERNAL, short, safe for a
 * terminal, and without any part of a key or token of the input.
 */
export function judge(error: unknown, secrets: ReadonlySet<string>): Judgment {
  if (!(error instanceof AgentError)) return { complaint: `not an AgentError: ${inspect(error)}` };
  const { code, remedy = '' } = error;
  if (!errorCodes.includes(code) || code === 'INTERNAL') return { complaint: `code ${code}` };
  const failure = JSON.stringify(toFailure(error));
  const leak = pieceIn(failure + error.message + remedy, secrets);
  if (leak !== undefined) return { complaint: `shows ${leak} of a secret: ${failure}` };
  if (failure.length > longestMessage) {
    return { complaint: `${failure.length} characters long: ${failure.slice(0, 500)}` };
  }
  const message = toFailure(error).message;
  return unprintable.test(message)
    ? { complaint: `has characters that a terminal acts on: ${JSON.stringify(message)}` }
    : { code };
}

/** Control, format and line-separating characters, except the newline of a list. */
const unprintable = /[^\P{Cc}\n]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

export function pieceIn(text: string, secrets: ReadonlySet<string>): string | undefined {
  // Comparing windows is much faster than a search for each secret.
  for (let at = 0; at + pieceLength <= text.length; at += 1) {
    const piece = text.slice(at, at + pieceLength);
    if (secrets.has(piece)) return piece;
  }
  return undefined;
}
