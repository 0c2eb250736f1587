import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { inspectKubeconfig } from '../../src/doctor/kubeconfig-state.ts';
import { base64, kubeconfigText } from '../kube/support/api-server.ts';
import { makePair, temporaryDirectory } from '../store/pairs.ts';
import { controlPlaneDirectory } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

describe('kubectl', { skip: skipWithoutRealControlPlane() }, () => {
  it('config set-credentials makes a stale kubeconfig follow the link', async (context) => {
    const directory = await temporaryDirectory(context);
    const at = (name: string): string => join(directory, name);
    const pair = await makePair();
    const link = at('kubelet-client-current.pem');
    await writeFile(at('pair.pem'), pair.pem, { mode: 0o600 });
    await symlink('pair.pem', link);
    const cluster = {
      server: 'https://10.0.0.1:6443',
      'certificate-authority-data': base64(pair.certificatePem.toString()),
    };
    const data = base64(pair.pem.toString());
    const user = { 'client-certificate-data': data, 'client-key-data': data };
    const kubeconfig = at('kubelet.conf');
    await writeFile(kubeconfig, kubeconfigText({ cluster, user }), { mode: 0o600 });
    const stale = await inspectKubeconfig(kubeconfig, link);
    assert.ok(stale.kind === 'loaded');
    assert.equal(stale.followsPair, false);

    await promisify(execFile)(join(controlPlaneDirectory(), 'kubectl'), [
      'config',
      'set-credentials',
      stale.user.name,
      `--client-certificate=${link}`,
      `--client-key=${link}`,
      `--kubeconfig=${kubeconfig}`,
    ]);

    const fixed = await inspectKubeconfig(kubeconfig, link);
    assert.ok(fixed.kind === 'loaded' && fixed.followsPair);
  });
});
