import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, it } from 'node:test';
import { agentConfig, until } from '../keeper/fixtures.ts';

const main = join(import.meta.dirname, '../../src/main.ts');

describe('runEnrollerProcess()', () => {
  const children: ChildProcess[] = [];
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-process-'));
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  /** The real program, started as the keeper starts it. */
  function started(): { readonly child: ChildProcess; readonly messages: { type: string }[] } {
    const child = fork(main, ['enroller'], { stdio: ['ignore', 2, 2, 'ipc'] });
    children.push(child);
    const messages: { type: string }[] = [];
    child.on('message', (message) => messages.push(message as { type: string }));
    child.send({ config: agentConfig(directory), version: 'test' });
    return { child, messages };
  }

  it('executes commands, ignores signals and exits when the channel closes', async () => {
    const { child, messages } = started();
    child.send({ type: 'inspect', name: 'kubelet-client' });
    await until('an answer', () => messages.some(({ type }) => type === 'inspected'));
    child.kill('SIGINT');
    child.kill('SIGTERM');
    await until('a sign of life', () => messages.some(({ type }) => type === 'alive'));
    assert.equal(child.exitCode, null);
    child.disconnect();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  it('exits if the channel closes during the start', async () => {
    const { child } = started();
    child.disconnect();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  it('reports a crash before it exits', async () => {
    const { child, messages } = started();
    // Only a bug can send this.
    child.send('no command');
    assert.deepEqual(await once(child, 'exit'), [1, null]);
    const words = messages.find(({ type }) => type === 'crashed') as { error?: string } | undefined;
    assert.match(String(words?.error), /'in' operator/);
  });

  it('exits when the keeper is killed', async () => {
    const keeper = `
      const { fork } = require('node:child_process');
      const child = fork(process.argv[1], ['enroller'], { stdio: ['ignore', 2, 2, 'ipc'] });
      child.send({ config: JSON.parse(process.argv[2]), version: 'test' });
      child.send({ type: 'inspect', name: 'kubelet-client' });
      child.on('message', () => console.log(child.pid));
    `;
    const parent = spawn(
      process.execPath,
      ['-e', keeper, main, JSON.stringify(agentConfig(directory))],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    children.push(parent);
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
    const pid = Number(line);
    assert.ok(isAlive(pid));
    parent.kill('SIGKILL');
    await until('the end of the enroller', () => !isAlive(pid));
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
