import { stat } from 'node:fs/promises';
import type { BootstrapToken } from '../core/bootstrap-token.ts';
import { parseBootstrapToken } from '../core/bootstrap-token.ts';
import { AgentError, hasErrno } from '../core/errors.ts';
import { newTokenRemedy } from '../core/remedies.ts';
import { readSmallFile } from '../sys/small-file.ts';
import { readStandardInput } from '../sys/standard-input.ts';
import type { Output } from './context.ts';
import { usageError } from './discover-values.ts';

/** A token with a line break, or a join line with many hashes. */
const longestInput = 64 * 1024;

/** Bytes that may contain a token, and their place for messages. The caller wipes them. */
export interface SecretInput {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly place: string;
}

/** @throws AgentError USAGE */
export async function readInput(option: string, stderr: Output): Promise<SecretInput> {
  if (process.stdin.isTTY) {
    const what = option === '--join' ? 'the kubeadm join line' : 'the token';
    stderr.write(`Paste ${what}, then press Enter and Ctrl-D:\n`);
  }
  try {
    return { bytes: await readStandardInput(longestInput), place: 'standard input' };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw usageError(`${option}: standard input ${error.message}`);
  }
}

/** @throws AgentError CONFIG_UNREADABLE */
export async function readTokenFile(path: string): Promise<SecretInput> {
  try {
    return { bytes: await readSmallFile(path, longestInput), place: path };
  } catch (error) {
    const missing = hasErrno(error, 'ENOENT', 'ENOTDIR');
    const reason = error instanceof RangeError ? error.message : 'cannot be read';
    const found = missing ? 'does not exist' : reason;
    throw new AgentError('CONFIG_UNREADABLE', `--token-file ${path} ${found}`, {
      ...(!(error instanceof RangeError) && { cause: error }),
      remedy: missing ? newTokenRemedy(path) : 'Set --token-file to a readable file with the token',
    });
  }
}

/** A warning if other users can read the file; undefined otherwise. */
export async function exposedTokenFile(path: string): Promise<string | undefined> {
  const { mode } = await stat(path);
  return (mode & 0o044) === 0
    ? undefined
    : `other users of this machine can read the token in ${path}: chmod 600 ${path}`;
}

/** @throws AgentError USAGE, without any part of the token */
export function requireToken({ bytes, place }: SecretInput): BootstrapToken {
  const token = parseBootstrapToken(bytes);
  if (token !== undefined) return token;
  throw usageError(
    `the token from ${place} is not a bootstrap token: ${fault(bytes)}`,
    'Use a token such as abcdef.0123456789abcdef; list the tokens on a control-plane node: kubeadm token list',
  );
}

/** What is wrong with the text, without showing it. */
function fault(bytes: Uint8Array): string {
  const text = new TextDecoder('latin1').decode(bytes).trim();
  if (text === '') return 'it is empty';
  if (/^[a-z0-9]{6}\.[a-z0-9]{16}$/i.test(text)) return 'it has capital letters';
  if (text.length !== 23) return `it has ${text.length} characters, expected 23`;
  return 'expected six characters, a dot and sixteen characters (a-z, 0-9)';
}
