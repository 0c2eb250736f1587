import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { AgentFacts } from '../../src/doctor/agent.ts';
import { agentFindings, lockHolder, writerOfState } from '../../src/doctor/agent.ts';
import { lockDirectory, lockFile } from '../../src/store/directory-lock.ts';
import { emptyState, writeState } from '../../src/store/state-file.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { withoutAccess } from '../support/without-access.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { summaryOf, textOf } from './findings.ts';

const idle: AgentFacts = {
  directory: '/pki',
  metricsAddress: '127.0.0.1:9471',
  metricsPort: { kind: 'free' },
};

describe('agentFindings()', () => {
  const rows: readonly (readonly [string, Partial<AgentFacts>, readonly string[]])[] = [
    ['no agent', {}, ['info agent']],
    ['the state of a stopped agent', { ours: 7 }, ['info agent']],
    [
      'the agent of this configuration',
      { holder: 7, ours: 7, metricsPort: { kind: 'ours' } },
      ['ok agent'],
    ],
    ['an agent that has not written its state yet', { holder: 7 }, ['ok agent']],
    ['a lock that this user may not read', { holder: 'hidden' }, ['info agent']],
    ['another agent', { holder: 8, ours: 7 }, ['warning second-agent']],
    [
      'another program on the port',
      { metricsPort: { kind: 'taken', by: 'nginx' } },
      ['info agent', 'error metrics-port-taken'],
    ],
  ];
  for (const [name, changes, expected] of rows) {
    it(`finds ${expected.join(' and ')} for ${name}`, () => {
      assert.deepEqual(summaryOf(agentFindings({ ...idle, ...changes })), expected);
    });
  }

  it('gives the command that shows the program on the port', () => {
    const metricsPort = { kind: 'taken', by: 'nginx' } as const;
    assert.match(textOf(agentFindings({ ...idle, metricsPort })), /ss -ltnp 'sport = :9471'/);
  });
});

describe('lockHolder()', () => {
  it('is the process that holds the lock, or undefined after it', async (context) => {
    const config = agentConfig(await temporaryDirectory(context));
    assert.equal(await lockHolder(config), undefined);
    {
      await using lock = await lockDirectory(config.certificateDirectory);
      assert.ok(lock.locked, 'flock is installed');
      assert.equal(await lockHolder(config), process.pid);
    }
    // The file stays, with the pid in it.
    assert.equal(await lockHolder(config), undefined);
  });

  it('ignores a pid whose process does not have the file open', async (context) => {
    const config = agentConfig(await temporaryDirectory(context));
    await mkdir(config.certificateDirectory);
    // Only root may look into processes of other users, so this one stands for them.
    for (const content of [`${process.pid}\n`, 'nonsense', '']) {
      await writeFile(join(config.certificateDirectory, lockFile), content);
      assert.equal(await lockHolder(config), undefined, content);
    }
  });

  it('is hidden from a user who may not read the lock file', async (context) => {
    const config = agentConfig(await temporaryDirectory(context));
    await using _ = await lockDirectory(config.certificateDirectory);
    const holder = await withoutAccess(config.certificateDirectory, () => lockHolder(config));
    assert.equal(holder, 'hidden');
  });
});

describe('writerOfState()', () => {
  it('is the pid in state.json, if there is one', async (context) => {
    const config = agentConfig(await temporaryDirectory(context));
    assert.equal(await writerOfState(config), undefined);
    await writeState(config.stateDirectory, { ...emptyState, pid: 7 });
    assert.equal(await writerOfState(config), 7);
    const unseen = await withoutAccess(config.stateDirectory, () => writerOfState(config));
    assert.equal(unseen, undefined);
  });
});
