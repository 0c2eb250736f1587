import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DiscoveryPlane } from '../../support/discovery-plane.ts';
import { accessIn, NewMachine } from '../../support/new-machine.ts';
import { kubeconfig } from '../../support/real-components.ts';
import type { KilledCommand, Scene } from '../crash/command-series.ts';

interface Discovering extends Scene {
  readonly machine: NewMachine;
  /** The kubeconfig before, with another token. */
  readonly previous: string;
}

/** `discover --force` on a machine with an older kubeconfig. */
export async function killedDiscovery(
  cluster: DiscoveryPlane,
): Promise<KilledCommand<Discovering>> {
  const token = await cluster.createSignedToken();
  const { server, caPem } = cluster.plane;
  const previous = kubeconfig({ server, caPem, user: { token: 'aaaaaa.0123456789abcdef' } });
  const args = ['--endpoint', cluster.endpoint, '--ca-cert-hash', cluster.pin, '--force'];
  return {
    name: 'discover',
    role: 'discover',
    open: async () => openMachine(token, previous),
    args: ({ machine }) => machine.args(...args, '--ca-file', machine.caFile),
    mainPaths: ({ machine }) => mainPaths(machine),
    calls: [
      ['pool', 'openat'],
      ['pool', 'fsync'],
      ['pool', 'rename'],
    ],
    problemOf: ({ code, stderr }) => (code === 0 ? '' : stderr),
    requireRecovery: async (scene) => requireRecovery(scene, args),
  };
}

async function openMachine(token: string, previous: string): Promise<Discovering> {
  const machine = await NewMachine.create(token);
  await writeFile(machine.output, previous, { mode: 0o600 });
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-fault-discovery-'));
  return {
    root,
    machine,
    previous,
    [Symbol.asyncDispose]: async () => {
      await machine[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

function mainPaths({ folder, tokenFile, output, caFile }: NewMachine) {
  return {
    paths: [folder, tokenFile, output, caFile],
    replaced: [
      // The temporary file of a kubeconfig has this ending.
      { directory: folder, name: 'bootstrap-kubelet.conf~' },
      { directory: folder, name: 'ca.crt' },
    ],
  };
}

/** The previous kubeconfig or the new one is there, and the next run leaves no other file. */
async function requireRecovery(
  { machine, previous }: Discovering,
  args: readonly string[],
): Promise<void> {
  for (const [name, mode] of Object.entries(await machine.files())) {
    assert.equal(mode, '0600', name);
    assert.match(name, /^(?:\.nodecertd-[0-9a-f]{16}\.)?(?:bootstrap-kubelet\.conf~?|ca\.crt)$/);
  }
  const found = await readFile(machine.output, 'utf8');
  assert.ok(found === previous || accessIn(found).token === machine.token, found);

  const ended = await machine.discover(...args, '--ca-file', machine.caFile);
  assert.equal(ended.code, 0, ended.stderr);
  assert.equal((await machine.access()).token, machine.token);
  const modes = { 'bootstrap-kubelet.conf': '0600', 'ca.crt': '0600' };
  assert.deepEqual(await machine.files(), modes);
}
