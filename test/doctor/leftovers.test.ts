import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import { inspectLeftovers, leftoverFindings } from '../../src/doctor/leftovers.ts';
import { clientTemplate, pairFor } from '../core/fixtures.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { summaryOf } from './findings.ts';

const path = '/etc/kubernetes/bootstrap-kubelet.conf';
const storedAt = Date.UTC(2026, 0, 15);
const pair = { ...pairFor(clientTemplate), storedAt };

describe('leftoverFindings()', () => {
  it('finds a file that is older than the certificate', () => {
    const [finding, ...others] = leftoverFindings([{ path, changedAt: storedAt - hour }], pair);
    assert.ok(finding !== undefined);
    assert.deepEqual(summaryOf([finding, ...others]), ['warning bootstrap-leftover']);
    assert.ok(finding.remedy?.startsWith(`Remove the file: rm ${path};`));
  });

  it('accepts a newer file, and every file before the bootstrap', () => {
    assert.deepEqual(leftoverFindings([{ path, changedAt: storedAt + 1 }], pair), []);
    assert.deepEqual(leftoverFindings([{ path, changedAt: storedAt }], undefined), []);
  });
});

describe('inspectLeftovers()', () => {
  it('finds the existing files with bootstrap.deleteAfterUse only', async (context) => {
    const config = agentConfig(await temporaryDirectory(context));
    await writeFile(config.bootstrapKubeconfig ?? '', 'token');
    const tokenFile = `${config.stateDirectory}/none`;
    const discovery = { endpoints: [], tokenFile, pins: [] };
    const found = await inspectLeftovers({
      ...config,
      bootstrap: { discovery, deleteAfterUse: true },
    });
    assert.deepEqual(
      found.map(({ path }) => path),
      [config.bootstrapKubeconfig],
    );
    assert.deepEqual(await inspectLeftovers(config), []);
  });
});
