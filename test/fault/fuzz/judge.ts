import { inspect } from 'node:util';
import { AgentError, errorCodes, toFailure } from '../../../src/core/errors.ts';
import { pieceLength } from './secrets.ts';

/** The code of an error that keeps the promise, or what is wrong with it. */
export type Judgement = { readonly code: string } | { readonly complaint: string };

/** A configuration's error has fifty lines, each with a path, a key and what is allowed there. */
const longestMessage = 32 * 1024;

/**
 * What is promised of every refusal: an AgentError with a code of its own, short, fit
 * for a terminal, without a piece of a key or token of the input.
 */
export function judge(error: unknown, secrets: ReadonlySet<string>): Judgement {
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

/** Control, format and line-separating characters but the newline of a list. */
const unprintable = /[^\P{Cc}\n]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

export function pieceIn(text: string, secrets: ReadonlySet<string>): string | undefined {
  // A window at a time is far less work than to look for each secret.
  for (let at = 0; at + pieceLength <= text.length; at += 1) {
    const piece = text.slice(at, at + pieceLength);
    if (secrets.has(piece)) return piece;
  }
  return undefined;
}
