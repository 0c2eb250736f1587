import assert from 'node:assert/strict';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { AgentConfig } from '../../src/core/config.ts';
import { inspectTokenFile, tokenFileFindings } from '../../src/doctor/token-file.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { summaryOf, textOf } from './findings.ts';

async function nodeWith(context: TestContext, text: string): Promise<AgentConfig> {
  const directory = await temporaryDirectory(context);
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, text, { mode: 0o600 });
  const discovery = { endpoints: [], tokenFile, pins: [] };
  return { ...agentConfig(directory), bootstrap: { discovery, deleteAfterUse: false } };
}

/** The findings on a node that needs the token, and on a node with a certificate. */
async function findings(
  config: AgentConfig,
  deleteAfterUse = false,
): Promise<readonly [string[], string[]]> {
  const state = await inspectTokenFile(config);
  assert.ok(state !== undefined);
  const summary = (needed: boolean): string[] => {
    const found = tokenFileFindings(state, { needed, deleteAfterUse });
    assert.doesNotMatch(textOf(found), /secret0123456789/);
    return summaryOf(found);
  };
  return [summary(true), summary(false)];
}

describe('tokenFileFindings()', () => {
  it('shows the id of the token', async (context) => {
    const config = await nodeWith(context, 'abcdef.secret0123456789\n');
    const info = ['info bootstrap-credential'];
    assert.deepEqual(await findings(config), [info, info]);
  });

  it('finds a file that contains no token', async (context) => {
    const config = await nodeWith(context, 'abcdef secret0123456789');
    assert.deepEqual(await findings(config), [
      ['error bootstrap-invalid'],
      ['info bootstrap-invalid'],
    ]);
  });

  it('finds a file that other users can read', async (context) => {
    const config = await nodeWith(context, 'abcdef.secret0123456789');
    await chmod(config.bootstrap.discovery?.tokenFile ?? '', 0o644);
    const warning = ['warning kubeconfig-permissions'];
    assert.deepEqual(await findings(config), [warning, warning]);
  });

  it('finds a missing file, unless the agent has removed it', async (context) => {
    const config = await nodeWith(context, '');
    await rm(config.bootstrap.discovery?.tokenFile ?? '');
    assert.deepEqual(await findings(config), [
      ['error bootstrap-missing'],
      ['info bootstrap-missing'],
    ]);
    assert.deepEqual(await findings(config, true), [['error bootstrap-missing'], []]);
  });
});

describe('inspectTokenFile()', () => {
  it('reads nothing without bootstrap.discovery', async () => {
    assert.equal(await inspectTokenFile(agentConfig('/nowhere')), undefined);
  });
});
