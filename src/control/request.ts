import { AgentError, describeError } from '../core/errors.ts';

const longestBody = 64 * 1024;

/**
 * Parses the names in `{"certificates": ["kubelet-client"]}`.
 * @throws AgentError USAGE for any other body, or one above 64 KiB
 */
export async function parseRenewal(body: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > longestBody) throw usage('it has more than 64 KiB');
    chunks.push(chunk);
  }
  const value = parsed(Buffer.concat(chunks).toString('utf8'));
  const names: unknown = isRecord(value) ? value['certificates'] : undefined;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw usage('it has no list of certificates');
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
  return new AgentError('USAGE', `invalid request: ${what}`, {
    remedy: 'Use the nodecertd command of the same version as the agent',
  });
}
