import assert from 'node:assert/strict';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  controlPlaneAnnotationKey,
  parseControlPlaneAnnotation,
} from '../../src/core/control-plane-annotation.ts';
import { formatTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { readAuthorities, readAuthority } from '../../src/kube/authorities.ts';
import { runOnHost, runWithClock } from '../cli/in-process.ts';
import { derOf } from '../core/openssl.ts';
import { issueWithOpenssl } from '../pki/renewal/openssl-authority.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import type { Ended } from '../support/doctor.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { adminLeaf } from '../support/real-components.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import { until } from '../support/until.ts';

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

/** The files of a control-plane node before a rollover. */
async function controlPlaneFolder(name: string): Promise<string> {
  const files = join(folder, name);
  await mkdir(files);
  const { oldCa } = rollover;
  await writeFile(join(files, 'ca.crt'), oldCa.certificatePem);
  await writeFile(join(files, 'ca.key'), oldCa.keyPem, { mode: 0o600 });
  await writeFile(join(files, 'admin.conf'), await rollover.plane.adminKubeconfig());
  return files;
}

/** Runs `ca-rollover apply create` on a control-plane node. */
async function create(hostName: string, ...args: readonly string[]): Promise<Ended> {
  const files = join(folder, hostName);
  const places = ['--kubernetes-dir', files, '--cert-dir', files];
  const command = ['ca-rollover', 'apply', 'create', '--ca', 'kubernetes', ...places];
  return runOnHost({ clock: systemClock, hostName }, ...command, '-o', 'json', ...args);
}

/** A file that `create` made on the first node. */
async function created(name: string): Promise<Buffer> {
  return readFile(join(folder, 'cp1', name));
}

interface StepDocument {
  readonly state: string;
  readonly tasks: readonly { readonly files?: readonly unknown[]; readonly isDone?: boolean }[];
  readonly refusals: readonly { readonly message: string; readonly objects?: readonly string[] }[];
  readonly notes: readonly string[];
  readonly commands: readonly string[];
}

function documentOf({ stdout, stderr }: Ended): StepDocument {
  assert.equal(stderr, '');
  return JSON.parse(stdout) as StepDocument;
}

describe('nodecertd ca-rollover apply create', { skip, timeout: 300_000 }, () => {
  const controlPlanes = ['cp1', 'cp2'];
  const nodes = '/api/v1/nodes';
  before(async () => {
    for (const name of controlPlanes) {
      await controlPlaneFolder(name);
      const labels = { 'node-role.kubernetes.io/control-plane': '' };
      const body = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } };
      await rollover.plane.admin.must({ method: 'POST', path: nodes, body });
    }
  });
  after(async () => {
    for (const name of controlPlanes) {
      await rollover.plane.admin.must({ method: 'DELETE', path: `${nodes}/${name}` });
    }
  });

  it('changes nothing with --dry-run', async () => {
    const planned = await create('cp1', '--dry-run');
    assert.equal(planned.code, 0, planned.stderr);
    assert.equal(documentOf(planned).state, 'planned');
    assert.deepEqual((await readdir(join(folder, 'cp1'))).toSorted(), [
      'admin.conf',
      'ca.crt',
      'ca.key',
    ]);
  });

  it('creates a CA once, and names the command that copies it', async () => {
    const done = await create('cp1', '--yes');
    assert.equal(done.code, 0, done.stderr);
    const { state, commands, notes } = documentOf(done);
    assert.equal(state, 'done');
    const { pin } = readAuthority(derOf(await created('ca-next.crt')));
    assert.ok(notes.some((note) => note.includes(`trust.caCertHashes is ${pin}`)));
    const files = join(folder, 'cp1');
    const names = ['ca-next.crt', 'ca-next.key', 'ca-bridge.crt'];
    assert.deepEqual(commands, [
      `scp -p ${names.map((name) => join(files, name)).join(' ')} cp2:${files}/`,
    ]);
    assert.equal((await stat(join(files, 'ca-next.key'))).mode & 0o777, 0o600);
    assert.doesNotMatch(done.stdout, /PRIVATE KEY/);
    const [run = ''] = await readdir(join(files, '.nodecertd-rollover'));
    const kept = await readdir(join(files, '.nodecertd-rollover', run));
    assert.deepEqual(kept.toSorted(), ['manifest.json', 'plan.json']);
    const before = await readFile(join(files, 'ca-next.crt'), 'utf8');
    const again = await create('cp1', '--yes', '--subject', 'CN=another');
    assert.deepEqual([again.code, documentOf(again).state], [0, 'nothing-to-do']);
    assert.equal(await readFile(join(files, 'ca-next.crt'), 'utf8'), before);
  });

  it('is refused on another node until the CA is copied there', async () => {
    const refused = await create('cp2', '--yes');
    assert.equal(refused.code, 3);
    assert.match(
      documentOf(refused).refusals[0]?.message ?? '',
      /^the Node cp1 reports the new CA [\da-f]{16}$/,
    );
    for (const name of ['ca-next.crt', 'ca-next.key', 'ca-bridge.crt']) {
      await copyFile(join(folder, 'cp1', name), join(folder, 'cp2', name));
    }
    await chmod(join(folder, 'cp2/ca-next.key'), 0o644);
    const [loose] = documentOf(await create('cp2', '--yes')).refusals;
    assert.equal(loose?.message, 'other users can read the key of a CA');
    await chmod(join(folder, 'cp2/ca-next.key'), 0o600);
    const copied = await create('cp2', '--yes');
    assert.equal(copied.code, 0, copied.stdout);
    assert.deepEqual(documentOf(copied).commands, []);
    assert.deepEqual(await readdir(join(folder, 'cp2/.nodecertd-rollover')), []);
  });

  it('connects Node and kubectl with the old CA to a server with the new one', async () => {
    const { plane, oldCa } = rollover;
    const { certificate, key } = issueWithOpenssl({
      subject: '/CN=kube-apiserver',
      extensions: ['extendedKeyUsage=serverAuth', 'subjectAltName=IP:127.0.0.1'],
      signer: { certificate: await created('ca-next.crt'), key: await created('ca-next.key') },
    });
    await plane.setAdmin(await oldCa.issue(adminLeaf), oldCa.certificatePem);
    const bridge = await created('ca-bridge.crt');
    await plane.replaceFiles({
      'apiserver.key': key.toString(),
      'apiserver.crt': Buffer.concat([certificate, bridge]).toString(),
    });
    const caPem = (await created('ca-next.crt')).toString();
    await until('a certificate from the new CA', () => rollover.verifies(caPem));
    assert.ok(await rollover.verifies(oldCa.certificatePem));
    assert.equal(await plane.kubectl('get', '--raw', '/readyz'), 'ok');
    await rollover.serve(oldCa);
    await rollover.identifyAdmin(oldCa, oldCa, rollover.newCa);
  });

  it('changes no file once the node trusts the new CA, and --undo is refused', async () => {
    const own = join(folder, 'cp2/ca.crt');
    const bundle = `${rollover.oldCa.certificatePem}${(await created('ca-next.crt')).toString()}`;
    await writeFile(own, bundle);
    // Only the report of the node is missing.
    for (const state of ['done', 'nothing-to-do']) {
      const again = await create('cp2', '--yes');
      assert.deepEqual([again.code, documentOf(again).state], [0, state], again.stdout);
    }
    const refused = await create('cp2', '--undo', '--yes');
    assert.equal(refused.code, 3);
    assert.match(documentOf(refused).refusals[0]?.message ?? '', /ca\.crt has the new CA$/);
    await writeFile(own, rollover.oldCa.certificatePem);
    assert.equal((await create('cp2', '--yes')).code, 0);
  });

  it('--undo removes the CA unless the cluster publishes it', async () => {
    const { plane, discovery, oldCa, server } = rollover;
    const next = await readFile(join(folder, 'cp1', 'ca-next.crt'), 'utf8');
    await discovery.publish({ server, caPem: `${oldCa.certificatePem}${next}` });
    const refused = await create('cp1', '--undo', '--yes');
    assert.deepEqual([refused.code, documentOf(refused).state], [3, 'refused']);
    await rollover.announce(oldCa);
    const undone = await create('cp1', '--undo', '--yes');
    assert.equal(undone.code, 0, undone.stderr);
    assert.deepEqual(
      (await readdir(join(folder, 'cp1'))).filter((name) => name.startsWith('ca-')),
      [],
    );
    const node = (await plane.admin.must({ method: 'GET', path: `${nodes}/cp1` })) as {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
    };
    const text = node.metadata.annotations[controlPlaneAnnotationKey] ?? '';
    assert.equal(parseControlPlaneAnnotation(text)?.next, undefined);
  });
});

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
