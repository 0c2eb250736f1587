import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  controlPlaneAnnotationKey,
  parseControlPlaneAnnotation,
} from '../../src/core/control-plane-annotation.ts';
import { parseTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import type { TrustAnnotation } from '../../src/core/trust-annotation.ts';
import type { TrustDocument } from '../../src/core/trust-document.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { runWithClock } from '../cli/in-process.ts';
import { temporaryFolder } from '../kube/support/api-server.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import { mirrorPod } from '../support/control-plane-objects.ts';
import type { Ended } from '../support/doctor.ts';
import { kubeconfig } from '../support/real-components.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { bundleOf, RolloverPlane } from '../support/rollover-plane.ts';
import { until } from '../support/until.ts';

const skip = skipWithoutRealControlPlane();
const node = 'worker-1';

function fingerprintOf({ certificatePem }: ClusterCa): string {
  return new X509Certificate(certificatePem).fingerprint256.replaceAll(':', '').toLowerCase();
}

/**
 * `nodecertd trust` through a rollover of a real control plane, with the credential of a node. Each
 * test continues where the previous one ended.
 */
describe('nodecertd trust on a real cluster', { skip, timeout: 180_000 }, () => {
  let rollover: RolloverPlane;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  const at = (name: string): string => join(folder.path, name);

  before(async () => {
    folder = await temporaryFolder();
    rollover = await RolloverPlane.start();
    await rollover.plane.setNodeAddresses(node, []);
    await until('a trust bundle', async () => (await rollover.trustBundles()).length > 0);
    await mkdir(at('pki'));
    await writeFile(at('ca.crt'), rollover.oldCa.certificatePem);
    const pair = at('pki/kubelet-client-current.pem');
    const text = kubeconfig({
      server: rollover.server,
      caPem: '',
      user: { 'client-certificate': pair, 'client-key': pair },
    });
    const authority = `certificate-authority: ${at('ca.crt')}`;
    await writeFile(at('kubelet.conf'), text.replace(/certificate-authority-data:.*/, authority));
    await storePair(rollover.oldCa);
    const settings = {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'AgentConfiguration',
      nodeName: node,
      kubeconfig: at('kubelet.conf'),
      certificateDirectory: at('pki'),
      stateDirectory: at('state'),
      kubelet: { configFile: at('kubelet.yaml'), certificateDirectory: at('pki') },
      trust: { enabled: true },
    };
    await writeFile(at('config.yaml'), JSON.stringify(settings));
  });
  after(async () => {
    await rollover?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  async function storePair(ca: ClusterCa): Promise<void> {
    const { certificatePem, keyPem } = await ca.issue({
      commonName: `system:node:${node}`,
      organizations: ['system:nodes'],
      usage: 'client auth',
    });
    const name = `kubelet-client-${fingerprintOf(ca).slice(0, 8)}.pem`;
    await writeFile(at(`pki/${name}`), certificatePem + keyPem, { mode: 0o600 });
    await unlink(at('pki/kubelet-client-current.pem')).catch(() => undefined);
    await symlink(name, at('pki/kubelet-client-current.pem'));
  }

  async function trust(...args: readonly string[]): Promise<Ended> {
    return runWithClock(systemClock, 'trust', ...args, '--config', at('config.yaml'));
  }

  async function sync(): Promise<TrustDocument> {
    const { stdout, stderr } = await trust('sync', '-o', 'json');
    assert.equal(stderr, '');
    return JSON.parse(stdout) as TrustDocument;
  }

  async function annotationText(key: string): Promise<string> {
    const path = `/api/v1/nodes/${node}`;
    const { metadata } = (await rollover.plane.admin.must({ method: 'GET', path })) as {
      readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
    };
    return metadata.annotations?.[key] ?? '';
  }

  async function annotation(): Promise<TrustAnnotation | undefined> {
    return parseTrustAnnotation(await annotationText(trustAnnotationKey));
  }

  async function createApiServerPod(startedAt: string): Promise<void> {
    const { admin } = rollover.plane;
    const [pods, name] = ['/api/v1/namespaces/kube-system/pods', `kube-apiserver-${node}`];
    const container = { name: 'kube-apiserver', image: 'i' };
    const body = mirrorPod('kube-apiserver', node, container);
    await admin.must({ method: 'POST', path: pods, body });
    const state = { running: { startedAt } };
    const running = { ...container, imageID: '', ready: true, restartCount: 0, state };
    const status = { phase: 'Running', containerStatuses: [running] };
    await admin.must({ method: 'PATCH', path: `${pods}/${name}/status`, body: { status } });
  }

  it('reports on the own Node that the node trusts the CA of the cluster', async () => {
    const report = await sync();
    assert.deepEqual([report.outcome, report.stage], ['in-sync', 'single']);
    const old = fingerprintOf(rollover.oldCa).slice(0, 16);
    const found = await annotation();
    assert.deepEqual(found?.places.kubeconfig, [old]);
    assert.deepEqual(found?.leaf, { 'kubelet-client': old });
  });

  it('reports the control plane on this machine, with the rights of a node', async () => {
    await createApiServerPod('2026-11-29T12:00:00Z');
    await sync();
    const found = parseControlPlaneAnnotation(await annotationText(controlPlaneAnnotationKey));
    assert.deepEqual(found?.startedAt, { 'kube-apiserver': Date.UTC(2026, 10, 29, 12) });
  });

  it('adds the new CA within seconds, and keeps the old one', async () => {
    await rollover.trustBoth();
    const report = await until('both CAs', async () => {
      const found = await sync();
      return found.outcome === 'changed' ? found : undefined;
    });
    assert.equal(report.stage, 'union');
    assert.equal(await readFile(at('ca.crt'), 'utf8'), bundleOf(rollover.oldCa, rollover.newCa));
    assert.equal((await annotation())?.places.kubeconfig.length, 2);
  });

  it('refuses to drop the CA of the API servers', async () => {
    const { code, stdout } = await trust('drop', fingerprintOf(rollover.oldCa), '--yes');
    assert.equal(code, 4);
    assert.match(stdout, /the source has it/);
  });

  it('reports that the old CA issued the certificate once the signer uses the new CA', async () => {
    await rollover.switchToNew();
    const behind = await sync();
    assert.deepEqual([behind.stage, behind.leaves[0]?.isBehind], ['reissuing', true]);
    assert.equal(behind.issuer, fingerprintOf(rollover.newCa));
    await storePair(rollover.newCa);
    const reissued = await sync();
    assert.deepEqual([reissued.stage, reissued.leaves[0]?.isBehind], ['reissued', false]);
  });

  it('drops the old CA by force, and restores it', async () => {
    await rollover.dropOld();
    await until('a source without the old CA', async () => (await sync()).stage === 'dropping');
    const early = await trust('drop', fingerprintOf(rollover.oldCa), '--yes');
    assert.match(early.stdout, /the source has lacked it for \d+s, and trust.dropAfter is 1d/);
    await trust('drop', fingerprintOf(rollover.oldCa), '--yes', '--force');
    assert.equal(await readFile(at('ca.crt'), 'utf8'), rollover.newCa.certificatePem);
    assert.deepEqual([(await sync()).stage, (await annotation())?.stage], ['single', 'single']);
    await trust('rollback', '--yes');
    assert.equal(await readFile(at('ca.crt'), 'utf8'), bundleOf(rollover.oldCa, rollover.newCa));
  });
});
