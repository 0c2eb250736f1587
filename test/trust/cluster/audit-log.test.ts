import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { hour } from '../../../src/core/instant.ts';
import { readClientUse } from '../../../src/trust/cluster/audit-log.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

const start = Date.UTC(2026, 10, 29);
const hash = (digit: string): string => digit.repeat(64);

/** A line of an audit log. */
function event(at: number, username: string, credentialId?: string): string {
  return JSON.stringify({
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    stage: 'ResponseComplete',
    user: {
      username,
      ...(credentialId !== undefined && {
        extra: { 'authentication.kubernetes.io/credential-id': [credentialId] },
      }),
    },
    requestReceivedTimestamp: new Date(at).toISOString().replace('Z', '123Z'),
  });
}

async function use(
  context: TestContext,
  ...logs: readonly (readonly string[])[]
): ReturnType<typeof readClientUse> {
  const directory = await temporaryDirectory(context);
  const files = logs.map((_, at) => join(directory, `audit-${at}.log`));
  for (const [at, file] of files.entries()) await writeFile(file, logs[at]?.join('\n') ?? '');
  const byNext = new Set([hash('a').slice(0, 16)]);
  return readClientUse({ files, byNext, reissued: new Set(['system:node:worker-1']) });
}

describe('readClientUse()', () => {
  it('names each certificate that the new CA may not have issued, with its last use', async (context) => {
    const found = await use(
      context,
      [
        'the end of a line"}',
        event(start + hour, 'ci', `X509SHA256=${hash('b')}`),
        event(start + 3 * hour, 'ci', `X509SHA256=${hash('b')}`),
        event(start + 2 * hour, 'kubernetes-admin', `X509SHA256=${hash('a')}`),
      ],
      [
        event(start, 'system:serviceaccount:default:robot', 'JTI=c8b6a1'),
        event(start + 5 * hour, 'system:anonymous'),
      ],
    );
    assert.deepEqual(found, {
      from: start,
      clients: [{ user: 'ci (X509SHA256=bbbbbbbbbbbbbbbb…)', lastSeen: start + 3 * hour }],
    });
  });

  it('takes the certificate that a reissued node used first last for the new one', async (context) => {
    const node = 'system:node:worker-1';
    const found = await use(context, [
      event(start, node, `X509SHA256=${hash('c')}`),
      event(start + hour, node, `X509SHA256=${hash('d')}`),
      event(start + 2 * hour, node, `X509SHA256=${hash('c')}`),
      event(start, 'system:node:worker-2', `X509SHA256=${hash('e')}`),
    ]);
    assert.deepEqual(found?.clients, [
      { user: `${node} (X509SHA256=cccccccccccccccc…)`, lastSeen: start + 2 * hour },
      { user: 'system:node:worker-2 (X509SHA256=eeeeeeeeeeeeeeee…)', lastSeen: start },
    ]);
  });

  it('rejects a file that does not exist, and knows nothing without a file', async () => {
    const question = { byNext: new Set<string>(), reissued: new Set<string>() };
    assert.equal(await readClientUse({ ...question, files: [] }), undefined);
    await assert.rejects(readClientUse({ ...question, files: ['/missing/audit.log'] }), {
      code: 'CONFIG_UNREADABLE',
    });
  });
});
