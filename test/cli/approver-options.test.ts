import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { defaultKubeconfig } from '../../src/cli/approver-options.ts';
import { temporaryDirectory } from '../store/pairs.ts';

/** A home folder for os.homedir(). */
async function homeOf(context: TestContext): Promise<string> {
  const home = await temporaryDirectory(context);
  const { HOME } = process.env;
  process.env['HOME'] = home;
  context.after(() => (process.env['HOME'] = HOME));
  return home;
}

describe('defaultKubeconfig()', () => {
  it('prefers KUBECONFIG, then the file of the user', async (context) => {
    const home = await homeOf(context);
    const own = join(home, '.kube/config');
    await mkdir(join(home, '.kube'));
    await writeFile(own, '');
    assert.equal(defaultKubeconfig({ KUBECONFIG: '/a:/b' }), '/a');
    assert.equal(defaultKubeconfig({ KUBERNETES_SERVICE_HOST: '10.96.0.1' }), own);
  });

  it('is undefined in a pod without a kubeconfig', async (context) => {
    await homeOf(context);
    assert.equal(defaultKubeconfig({ KUBERNETES_SERVICE_HOST: '10.96.0.1' }), undefined);
  });
});
