import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { impersonationHeaders } from '../../src/kube/impersonation.ts';
import { ApiServer, clientOf, sendJson } from './support/api-server.ts';
import { get } from './support/requests.ts';

/** The Impersonate lines of each request, as received by the server. */
function recorded(lines: string[][]): Promise<ApiServer> {
  return ApiServer.start(({ rawHeaders }, response) => {
    const headers = rawHeaders.flatMap((name, index) =>
      index % 2 === 0 ? [`${name}: ${rawHeaders[index + 1]}`] : [],
    );
    lines.push(headers.filter((line) => line.startsWith('Impersonate-')));
    sendJson(response, {});
  });
}

describe('impersonationHeaders()', () => {
  it('sends one line for each value, with the token of the credential', async () => {
    const lines: string[][] = [];
    await using server = await recorded(lines);
    await using client = await clientOf(server, {
      parts: {
        user: {
          token: 'abc',
          as: 'system:node:n1',
          'as-uid': '42',
          'as-groups': ['system:nodes', 'Gäste'],
          'as-user-extra': { scopes: ['a b', 'c'], 'example.com/réason%': ['x'], empty: [] },
        },
      },
    });
    await get(client);
    assert.equal(server.requests[0]?.headers.authorization, 'Bearer abc');
    assert.deepEqual(lines, [
      [
        'Impersonate-User: system:node:n1',
        'Impersonate-Uid: 42',
        'Impersonate-Group: system:nodes',
        `Impersonate-Group: ${Buffer.from('Gäste').toString('latin1')}`,
        'Impersonate-Extra-scopes: a b',
        'Impersonate-Extra-scopes: c',
        'Impersonate-Extra-example.com%2Fr%C3%A9ason%25: x',
      ],
    ]);
  });

  it('sends only the user when nothing else is set', async () => {
    const lines: string[][] = [];
    await using server = await recorded(lines);
    await using client = await clientOf(server, {
      parts: { user: { token: 'abc', as: 'jane', 'as-uid': '', 'as-groups': null } },
    });
    await get(client);
    assert.deepEqual(lines, [['Impersonate-User: jane']]);
  });

  it('sends nothing without impersonation', () => {
    assert.deepEqual(impersonationHeaders(undefined), {});
  });
});
