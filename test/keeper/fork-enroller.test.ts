import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { EnrollerChild } from '../../src/keeper/enroller-link.ts';
import type { EnrollerProgram } from '../../src/keeper/fork-enroller.ts';
import { forkEnroller } from '../../src/keeper/fork-enroller.ts';
import { until } from './fixtures.ts';

/** Echoes each message, and runs the action with its name. */
const program = `
process.on('message', (message) => {
  if (message.name === 'exit') process.exit(7);
  if (message.name === 'signal') process.kill(process.pid, 'SIGTERM');
  if (message.name === 'output') console.log('on standard output');
  if (message.name === 'environment') message = { ...process.env };
  process.send({ type: 'echo', message, args: process.argv.slice(2) });
});
process.on('disconnect', () => process.exit(0));
`;

interface Run {
  readonly child: EnrollerChild;
  readonly messages: unknown[];
  readonly exits: string[];
}

describe('forkEnroller()', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-fork-'));
    await writeFile(join(directory, 'echo.mjs'), program);
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  function run(options: Partial<EnrollerProgram> = {}): Run {
    const messages: unknown[] = [];
    const exits: string[] = [];
    const launch = forkEnroller({
      program: join(directory, 'echo.mjs'),
      args: ['enroller'],
      execArgv: [],
      greeting: { hello: 'child' },
      ...options,
    });
    const child = launch({
      onMessage: (message) => messages.push(message),
      onExit: (how) => exits.push(how),
    });
    assert.deepEqual(exits, [], 'onExit was called before the launch returned');
    return { child, messages, exits };
  }

  it('sends the greeting first, then passes commands and replies', async () => {
    const { child, messages, exits } = run();
    child.send({ type: 'inspect', id: 1, name: 'a' });
    await until('two echoes', () => messages.length === 2);
    assert.deepEqual(messages, [
      { type: 'echo', message: { hello: 'child' }, args: ['enroller'] },
      { type: 'echo', message: { type: 'inspect', id: 1, name: 'a' }, args: ['enroller'] },
    ]);
    child.disconnect();
    await until('the exit', () => exits.length > 0);
    assert.deepEqual(exits, ['exit code 0']);
  });

  it('passes the proxy variables of its environment on', async () => {
    process.env['HTTPS_PROXY'] = 'http://proxy:3128';
    const { child, messages } = run();
    delete process.env['HTTPS_PROXY'];
    child.send({ type: 'inspect', id: 1, name: 'environment' });
    await until('two echoes', () => messages.length === 2);
    const { message } = messages[1] as { readonly message: Readonly<Record<string, string>> };
    assert.equal(message['HTTPS_PROXY'], 'http://proxy:3128');
    child.disconnect();
  });

  it('adds the variables of the program to the environment', async () => {
    const { child, messages } = run({ env: { OF_THE_ENROLLER: 'alone' } });
    child.send({ type: 'inspect', id: 1, name: 'environment' });
    await until('two echoes', () => messages.length === 2);
    const { message } = messages[1] as { readonly message: Readonly<Record<string, string>> };
    assert.equal(message['OF_THE_ENROLLER'], 'alone');
    assert.equal(message['PATH'], process.env['PATH']);
    assert.equal(process.env['OF_THE_ENROLLER'], undefined);
    child.disconnect();
  });

  const ends: readonly (readonly [string, string])[] = [
    ['exit', 'exit code 7'],
    ['signal', 'signal SIGTERM'],
  ];
  for (const [name, how] of ends) {
    it(`reports "${how}" once`, async () => {
      const { child, exits } = run();
      child.send({ type: 'inspect', id: 1, name });
      await until('the exit', () => exits.length > 0);
      // A message to it now must neither throw nor report a second exit.
      child.send({ type: 'inspect', id: 1, name: 'late' });
      child.disconnect();
      child.kill();
      await new Promise(setImmediate);
      assert.deepEqual(exits, [how]);
    });
  }

  it('kills with SIGKILL', async () => {
    const { child, messages, exits } = run();
    await until('the greeting', () => messages.length === 1);
    child.kill();
    await until('the exit', () => exits.length > 0);
    assert.deepEqual(exits, ['signal SIGKILL']);
  });

  it('reports a missing program as an exit', async () => {
    const { child, exits } = run({ program: join(directory, 'missing.mjs') });
    assert.ok(child.pid !== undefined);
    await until('the exit', () => exits.length > 0);
    assert.deepEqual(exits, ['exit code 1']);
  });

  it('reports a runtime that cannot be started as an exit', async () => {
    const { child, exits } = run({ execPath: join(directory, 'no-node') });
    assert.equal(child.pid, undefined);
    child.send({ type: 'inspect', id: 1, name: 'a' });
    child.disconnect();
    child.kill();
    await until('the exit', () => exits.length > 0);
    assert.equal(exits.length, 1);
    assert.match(exits[0] ?? '', /ENOENT/);
  });

  it('reports an error of fork() as an exit', async () => {
    const { child, exits } = run({ execPath: 'a\0b' });
    assert.equal(child.pid, undefined);
    await until('the exit', () => exits.length > 0);
    assert.match(exits[0] ?? '', /null bytes/);
  });
});
