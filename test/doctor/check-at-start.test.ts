import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import type { ApiPort } from '../../src/doctor/connection.ts';
import { checkNodeAtStart } from '../../src/doctor/check-at-start.ts';
import { everyApproval } from '../sandbox/authorization.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { agentConfig, clientSpec } from '../keeper/fixtures.ts';
import { clientFor } from '../kube/support/kubeconfig-client.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { summaryOf } from './findings.ts';

const checkContext = { clock: systemClock, signal: new AbortController().signal };

async function unusable(): ReturnType<ApiPort['open']> {
  throw new AgentError('KUBECONFIG_MISSING', 'there is none');
}

describe('checkNodeAtStart()', () => {
  it('checks the files without an API server', async (context) => {
    const config = agentConfig(await temporaryDirectory(context), [clientSpec]);
    await mkdir(config.certificateDirectory);
    await writeFile(config.kubelet.configFile, 'rotateCertificates: true');
    const findings = await checkNodeAtStart(config, { open: unusable }, checkContext);
    assert.ok(summaryOf(findings).includes('warning second-rotator'));
    assert.ok(findings.every(({ severity }) => severity !== 'ok'));
  });

  it('sends one request, and only as a node', async (context) => {
    await using sandbox = await startSandbox({ clock: systemClock });
    await using client = await clientFor(sandbox.bootstrapKubeconfig());
    const directory = await temporaryDirectory(context);
    const config = agentConfig(directory, [clientSpec]);
    await writeFile(join(directory, 'kubelet.yaml'), '{}');
    const ask = async (source: 'kubeconfig' | 'bootstrap'): Promise<string[]> =>
      summaryOf(
        await checkNodeAtStart(config, { open: async () => ({ client, source }) }, checkContext),
      );
    sandbox.setApprovals(everyApproval);
    assert.ok(!(await ask('bootstrap')).includes('warning approval-not-permitted'));
    assert.deepEqual(sandbox.audit(), []);
    // The bootstrapper's credential may not renew, so the answer for a node is no.
    assert.ok((await ask('kubeconfig')).includes('warning approval-not-permitted'));
    assert.deepEqual(
      sandbox.audit().map(({ verb, resource }) => `${verb} ${resource}`),
      ['create selfsubjectaccessreviews'],
    );
  });
});
