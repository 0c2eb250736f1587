import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { hasCode } from '../../src/core/errors.ts';
import { podNamespace, serviceAccountAccess } from '../../src/kube/service-account.ts';
import { temporaryFolder } from './support/api-server.ts';

const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };

describe('serviceAccountAccess()', () => {
  it('uses the address, the CA and the token of the pod', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ca.crt'), 'CA');
    await writeFile(join(folder.path, 'namespace'), 'here\n');
    const { cluster, credential } = await serviceAccountAccess({
      environment,
      folder: folder.path,
    });
    assert.equal(cluster.server, 'https://[fd00::1]:6443');
    assert.equal(Buffer.from(cluster.certificateAuthority?.pem ?? []).toString(), 'CA');
    assert.equal(credential.tokenFile, join(folder.path, 'token'));
    assert.equal(await podNamespace(folder.path), 'here');
  });

  it('names --kubeconfig outside a pod', async () => {
    await using folder = await temporaryFolder();
    await assert.rejects(serviceAccountAccess({ environment, folder: folder.path }), (error) => {
      return hasCode(error, 'KUBECONFIG_MISSING') && /--kubeconfig/.test(error.remedy ?? '');
    });
    assert.equal(await podNamespace(folder.path), undefined);
  });
});
