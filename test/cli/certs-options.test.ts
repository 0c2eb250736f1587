import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { userKubeconfigs } from '../../src/cli/certs-options.ts';

describe('userKubeconfigs()', () => {
  const own = join(homedir(), '.kube/config');

  it('has the kubeconfig of this user, once', () => {
    assert.deepEqual(userKubeconfigs({}), [own]);
    assert.deepEqual(userKubeconfigs({ SUDO_USER: 'root' }), [own]);
  });

  it('has the kubeconfig of the user who called sudo', () => {
    // A path that exists on every machine stands for a home directory.
    const kubeconfigs = userKubeconfigs({ SUDO_USER: '../tmp' });
    assert.deepEqual(kubeconfigs, [own, '/tmp/.kube/config']);
  });

  it('leaves out a home that it cannot enter', () => {
    assert.deepEqual(userKubeconfigs({ SUDO_USER: 'no-such-user' }), [own]);
  });
});
