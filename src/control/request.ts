import { AgentError, describeError } from '../core/errors.ts';

const longestBody = 64 * 1024;

/**
 * The names in `{"certificates": ["kubelet-client"]}`.
 * @throws AgentError USAGE for anything else, or more than 64 KiB of it
 */
export async function parseRenewal(body: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > longestBody) throw usage('more than 64 KiB');
    chunks.push(chunk);
  }
  const value = parsed(Buffer.concat(chunks).toString('utf8'));
  const names: unknown = isRecord(value) ? value['certificates'] : undefined;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw usage('no list of certificates');
  }
  return names;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw usage(describeError(error));
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function usage(what: string): AgentError {
  return new AgentError('USAGE', `the command cannot be read: ${what}`, {
    remedy: 'use the nodecertd command of the same version as the agent',
  });
}
