import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { ControlPort } from '../../src/control/server.ts';
import { startControlServer } from '../../src/control/server.ts';
import { AgentError } from '../../src/core/errors.ts';
import type { AgentStatus } from '../../src/core/status.ts';

const status: AgentStatus = {
  version: '1',
  pid: 1,
  nodeName: 'worker-1',
  startedAt: 0,
  now: 1,
  certificateDirectory: '/pki',
  certificates: [],
};

class RecordingPort implements ControlPort {
  readonly asked: string[][] = [];

  status(): AgentStatus {
    return status;
  }

  renew(names: readonly string[]): [] {
    if (names.includes('other')) throw new AgentError('USAGE', 'no certificate is called other');
    if (names.includes('broken')) throw new TypeError('broken');
    this.asked.push([...names]);
    return [];
  }
}

interface Answer {
  readonly code: number | undefined;
  readonly body: unknown;
}

async function send(path: string, line: string, body?: string): Promise<Answer> {
  const [method = '', url = ''] = line.split(' ');
  const sent = request({ socketPath: path, method, path: url, agent: false });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return {
    code: response.statusCode,
    body: JSON.parse(Buffer.concat(chunks).toString()) as unknown,
  };
}

describe('startControlServer()', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-control-'));
    path = join(directory, 'control.sock');
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('creates a socket for its owner only, and removes it', async () => {
    const before = process.umask();
    {
      await using server = await startControlServer(path, new RecordingPort());
      assert.equal(server.path, path);
      assert.equal((await stat(path)).mode & 0o777, 0o600);
    }
    assert.equal(process.umask(), before);
    await assert.rejects(stat(path), { code: 'ENOENT' });
  });

  it('executes commands and answers with their results', async () => {
    const port = new RecordingPort();
    await using server = await startControlServer(path, port);
    assert.deepEqual(await send(server.path, 'GET /status'), { code: 200, body: status });
    const renewed = await send(server.path, 'POST /renew', '{"certificates":["a","b"]}');
    assert.deepEqual(renewed, { code: 200, body: [] });
    assert.deepEqual(port.asked, [['a', 'b']]);
  });

  for (const [what, line, body, code, failure] of [
    ['an unknown name', 'POST /renew', '{"certificates":["other"]}', 400, 'USAGE'],
    ['a fault of the agent', 'POST /renew', '{"certificates":["broken"]}', 500, 'INTERNAL'],
    ['no JSON', 'POST /renew', '{', 400, 'USAGE'],
    ['no list', 'POST /renew', '{"certificates":"a"}', 400, 'USAGE'],
    ['a list of other things', 'POST /renew', '{"certificates":[1]}', 400, 'USAGE'],
    ['nothing', 'POST /renew', '', 400, 'USAGE'],
    ['too much', 'POST /renew', `{"certificates":["${'a'.repeat(70_000)}"]}`, 400, 'USAGE'],
    ['another command', 'POST /destroy', '', 400, 'USAGE'],
    ['a command with GET', 'GET /renew', '', 400, 'USAGE'],
  ] as const) {
    it(`refuses ${what} with code and remedy`, async () => {
      const port = new RecordingPort();
      await using server = await startControlServer(path, port);
      const answer = await send(server.path, line, body);
      assert.equal(answer.code, code);
      const shown = (answer.body as { failure: { code: string; remedy: string } }).failure;
      assert.equal(shown.code, failure);
      assert.ok(shown.remedy);
      assert.deepEqual(port.asked, []);
    });
  }

  it('replaces a socket without a server', async () => {
    const left = await startControlServer(path, new RecordingPort());
    // As after SIGKILL: the socket exists without a server.
    await rename(path, `${path}.left`);
    await left[Symbol.asyncDispose]();
    await rename(`${path}.left`, path);
    await using server = await startControlServer(path, new RecordingPort());
    assert.equal((await send(server.path, 'GET /status')).code, 200);
  });

  it('refuses to replace the socket of another agent', async () => {
    await using first = await startControlServer(path, new RecordingPort());
    await assert.rejects(startControlServer(path, new RecordingPort()), (error: AgentError) => {
      assert.equal(error.code, 'CONTROL_LISTEN');
      assert.match(error.remedy ?? '', /Stop the other agent/);
      return true;
    });
    assert.equal((await send(first.path, 'GET /status')).code, 200);
  });

  it('refuses to replace another file, and a path that is too long', async () => {
    await writeFile(path, 'precious');
    await assert.rejects(startControlServer(path, new RecordingPort()), { code: 'CONTROL_LISTEN' });
    assert.equal((await stat(path)).size, 8);
    const long = join(directory, 'a'.repeat(120));
    await assert.rejects(startControlServer(long, new RecordingPort()), { code: 'CONTROL_LISTEN' });
  });

  it('stops despite an idle connection', async () => {
    const server = await startControlServer(path, new RecordingPort());
    const idle = connect(path);
    await once(idle, 'connect');
    const closed = once(idle, 'close');
    await server[Symbol.asyncDispose]();
    await closed;
  });
});
