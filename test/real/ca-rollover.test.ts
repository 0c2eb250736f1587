import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { formatTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { runWithClock } from '../cli/in-process.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import type { Ended } from '../support/doctor.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';

/** `nodecertd ca-rollover` through a whole rollover of a real control plane with one node. */

const skip = skipWithoutRealControlPlane();
const node = 'worker-1';

let rollover: RolloverPlane;
let folder: string;
before(async () => {
  if (skip !== false) return;
  folder = await mkdtemp(join(tmpdir(), 'nodecertd-rollover-'));
  rollover = await RolloverPlane.start();
  await writeFile(join(folder, 'ca.key'), rollover.oldCa.keyPem, { mode: 0o600 });
  await writeFile(join(folder, 'ca-next.key'), rollover.newCa.keyPem, { mode: 0o600 });
  await rollover.plane.setNodeAddresses(node, []);
});
after(async () => {
  if (skip !== false) return;
  await rollover[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface Document {
  readonly new?: unknown;
  readonly gates: readonly {
    readonly id: string;
    readonly state: string;
    readonly reasons: readonly { readonly message: string; readonly objects?: string[] }[];
  }[];
}

/** Runs a command with the credential of the administrator. The node of this test has no kubelet. */
async function caRollover(...args: readonly string[]): Promise<Ended> {
  const kubeconfig = join(folder, 'admin.conf');
  await writeFile(kubeconfig, await rollover.plane.adminKubeconfig(), { mode: 0o600 });
  const places = ['--kubeconfig', kubeconfig, '--kubernetes-dir', folder, '--cert-dir', folder];
  return runWithClock(systemClock, 'ca-rollover', ...args, ...places, '--no-dial', '-o', 'json');
}

async function status(): Promise<Document & { readonly code: number }> {
  const { code, stdout, stderr } = await caRollover('status', '--clients-ok');
  assert.equal(stderr, '');
  return { ...(JSON.parse(stdout) as Document), code };
}

/** The states of the gates, as in `G1 open`. */
async function states(): Promise<string[]> {
  const { gates } = await status();
  return gates.map(({ id, state }) => `${id} ${state}`);
}

/** The node reports that it trusts these CAs, and that the last one issued its certificate. */
async function report(...cas: readonly ClusterCa[]): Promise<void> {
  const found = cas.map(
    ({ certificatePem }) => readAuthorities(Buffer.from(certificatePem)).authorities[0],
  );
  const short = found.map((authority) => authority?.fingerprint.slice(0, 16) ?? '');
  const text = formatTrustAnnotation({
    stage: 'union',
    places: { kubeconfig: short, clientCa: short },
    leaf: { 'kubelet-client': short.at(-1) ?? '' },
    readers: 'ok',
    reportedAt: Date.now(),
  });
  const body = { metadata: { annotations: { [trustAnnotationKey]: text } } };
  await rollover.plane.admin.must({ method: 'PATCH', path: `/api/v1/nodes/${node}`, body });
}

describe('nodecertd ca-rollover', { skip, timeout: 120_000 }, () => {
  it('says that a cluster with one CA has no rollover', async () => {
    const { code, gates, new: next } = await status();
    assert.deepEqual([code, gates, next], [0, [], undefined]);
  });

  it('opens the gates of the switch when everything trusts both CAs', async () => {
    const { oldCa, newCa } = rollover;
    await rollover.acceptClientsOf(oldCa, newCa);
    await rollover.publish(oldCa, newCa);
    await report(oldCa);
    assert.deepEqual((await states()).slice(0, 4), [
      'G1 open',
      'G2 waiting',
      'G3 waiting',
      'G4 open',
    ]);
    await rollover.announce(oldCa, newCa);
    await report(newCa, oldCa);
    assert.deepEqual(await states(), [
      'G1 open',
      'G2 open',
      'G3 open',
      'G4 open',
      'G5 waiting',
      'G6 waiting',
      'G7 waiting',
      'G8 waiting',
    ]);
    assert.equal((await status()).code, 3);
    assert.equal((await caRollover('wait', '--for', 'union')).code, 0);
  });

  it('names the node that does not trust the served certificate, until the bridge is sent', async () => {
    const { oldCa, newCa } = rollover;
    await report(oldCa);
    await rollover.serve(newCa);
    const { code, gates } = await status();
    assert.equal(code, 4);
    const nodes = gates.find(({ id }) => id === 'G3');
    assert.equal(nodes?.state, 'harmful');
    assert.deepEqual(nodes.reasons[0]?.objects, [node]);
    await rollover.serve(newCa, await oldCa.bridgeTo(newCa));
    const { code: bridged } = await status();
    assert.equal(bridged, 3);
    await report(newCa, oldCa);
  });

  it('sees a server that rejects certificates that are in use', async () => {
    const { oldCa, newCa } = rollover;
    await rollover.acceptClientsOf(newCa);
    await rollover.identifyAdmin(newCa, oldCa, newCa);
    const { code, gates } = await status();
    assert.equal(code, 4);
    assert.match(
      gates[0]?.reasons[0]?.message ?? '',
      /rejects client certificates issued by the old CA/,
    );
    await rollover.acceptClientsOf(oldCa, newCa);
    await rollover.identifyControllers(newCa, oldCa, newCa);
  });

  it('opens the gates of the finish when the new CA issued everything', async () => {
    const { oldCa, newCa } = rollover;
    await rollover.signWith(newCa);
    await rollover.requestNodePair(
      rollover.plane.clientAs(`system:node:${node}`, ['system:nodes']),
      node,
    );
    await report(oldCa, newCa);
    const { code, stdout } = await caRollover('wait', '--for', 'droppable', '--clients-ok');
    assert.equal(code, 0, stdout);
  });

  it('names the ConfigMap that keeps the old CA after the finish', async () => {
    const { newCa } = rollover;
    await rollover.acceptClientsOf(newCa);
    await rollover.publish(newCa);
    await rollover.announce(newCa);
    await report(newCa);
    await rm(join(folder, 'ca.key'));
    const { code, gates } = await status();
    assert.equal(code, 3);
    const closed = gates.filter(({ state }) => state !== 'open');
    assert.deepEqual(
      closed.map(({ id }) => id),
      ['G8'],
    );
    assert.match(
      closed[0]?.reasons[0]?.message ?? '',
      /extension-apiserver-authentication still has the old CA/,
    );
    const path = '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication';
    await rollover.plane.admin.must({ method: 'DELETE', path });
    assert.equal((await status()).code, 0);
  });
});
