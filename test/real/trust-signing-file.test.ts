import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { systemClock } from '../../src/sys/clock.ts';
import { controlPlaneFiles } from '../../src/trust/node/control-plane-files.ts';
import type { TrustRequest } from '../../src/trust/node/session.ts';
import { syncTrust } from '../../src/trust/node/sync.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import type { NodeFiles } from '../trust/node/node-files.ts';
import { kubeconfigText, makeNode } from '../trust/node/node-files.ts';
import { trustDefaults } from '../support/trust-defaults.ts';

const skip = skipWithoutRealControlPlane();

function requestFor({ root, config, machine }: NodeFiles, file: string): TrustRequest {
  const trust = { ...trustDefaults, kubelet: 'none', file } as const;
  return {
    config: { ...agentConfig(root), ...config(), trust },
    version: '0.0.0',
    clock: systemClock,
    signal: AbortSignal.timeout(60_000),
    clockSync: async () => 'synchronized',
    machine,
  };
}

describe('syncTrust()', { skip, timeout: 120_000 }, () => {
  it('leaves the file with which kube-controller-manager signs', async (context) => {
    await using rollover = await RolloverPlane.start();
    const { plane, oldCa, bundle, server } = rollover;
    const signing = join(plane.directory, 'signer.crt');
    const { authorities } = await controlPlaneFiles({ staticPodPath: '/none' });
    assert.ok(authorities.includes(signing), 'the running kube-controller-manager names the file');

    const node = await makeNode(context, oldCa.certificatePem);
    await writeFile(node.kubeconfig, kubeconfigText({ pem: oldCa.certificatePem }, server));
    await writeFile(node.configFile, `authentication:\n  x509:\n    clientCAFile: ${signing}\n`);
    const source = join(node.root, 'source.pem');
    await writeFile(source, bundle);
    const before = await readFile(signing, 'utf8');
    const options = { restartNow: false, byHand: true, refresh: false };
    const report = await syncTrust(requestFor(node, source), options);
    assert.equal(report.outcome, 'changed', JSON.stringify(report));
    assert.ok(report.findings.some(({ id }) => id === 'client_ca_is_signing_file'));
    assert.equal(await readFile(node.kubeconfig, 'utf8'), kubeconfigText({ pem: bundle }, server));
    assert.equal(await readFile(signing, 'utf8'), before);

    await using requestor = plane.clientAs('system:node:worker-1', [
      'system:nodes',
      'system:authenticated',
    ]);
    const { certificatePem } = await rollover.requestNodePair(requestor, 'worker-1');
    const { publicKey } = new X509Certificate(oldCa.certificatePem);
    assert.ok(new X509Certificate(certificatePem).verify(publicKey));
  });
});
