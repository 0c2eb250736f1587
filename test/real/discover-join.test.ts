import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { DiscoveryPlane, idOf } from '../support/discovery-plane.ts';
import { kubeadmProgram, skipWithoutKubeadm } from '../support/kubeadm.ts';
import { NewMachine } from '../support/new-machine.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

const skip = skipWithoutRealControlPlane() || skipWithoutKubeadm();

describe('nodecertd discover --join', { skip, timeout: 300_000 }, () => {
  it('takes the line that kubeadm token create prints', async () => {
    await using cluster = await DiscoveryPlane.start();
    await using machine = await NewMachine.create('unused.0123456789abcdef');
    const line = await printedLine(cluster, machine.folder);
    const [token = ''] = /[a-z0-9]{6}\.[a-z0-9]{16}/.exec(line) ?? [];
    await cluster.untilSigned(token);

    const ended = await machine.discoverWithoutToken('--join', line, '-o', 'json');
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stderr, /other users of this machine can see the token of --join/);
    const { server, token: written } = await machine.access();
    assert.deepEqual([server, written], [cluster.plane.server, token]);
    assert.match(ended.stdout, new RegExp(`"tokenId": "${idOf(token)}"`));
  });
});

/** Creates a token with kubeadm itself. */
async function printedLine({ plane }: DiscoveryPlane, folder: string): Promise<string> {
  const kubeconfig = join(folder, 'admin.conf');
  await writeFile(kubeconfig, await plane.adminKubeconfig(), { mode: 0o600 });
  const args = ['token', 'create', '--print-join-command', '--kubeconfig', kubeconfig];
  const { stdout } = await promisify(execFile)(kubeadmProgram(), args);
  return stdout;
}
