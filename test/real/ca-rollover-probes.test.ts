import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { version } from '../../src/core/version.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { RolloverAuthorities } from '../../src/trust/cluster/gate.ts';
import { probeUser } from '../../src/trust/cluster/probe-certificate.ts';
import type { ServerProbe } from '../../src/trust/cluster/probes.ts';
import { probeServers } from '../../src/trust/cluster/probes.ts';
import { findSigningKeys } from '../../src/trust/cluster/signing-authorities.ts';
import type { CheckContext } from '../../src/trust/control-plane/check.ts';
import { requireClientTrust } from '../../src/trust/control-plane/client-trust.ts';
import { requireServed } from '../../src/trust/control-plane/served-chain.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import type { ClusterCa } from '../support/cluster-pki.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import { contextWith } from '../trust/control-plane/check-context.ts';

/** Gates G1 and G6: what a real API server answers to certificates of both CAs. */

const skip = skipWithoutRealControlPlane();

let rollover: RolloverPlane;
/** Has the keys of both CAs, as the certificate directory of a control-plane node. */
let certificates: string;
before(async () => {
  if (skip !== false) return;
  certificates = await mkdtemp(join(tmpdir(), 'nodecertd-probes-'));
  rollover = await RolloverPlane.start();
  await writeFile(join(certificates, 'ca.key'), rollover.oldCa.keyPem, { mode: 0o600 });
  await writeFile(join(certificates, 'ca-next.key'), rollover.newCa.keyPem, { mode: 0o600 });
});
after(async () => {
  if (skip !== false) return;
  await rollover[Symbol.asyncDispose]();
  await rm(certificates, { recursive: true });
});

function authorities(): Required<RolloverAuthorities> {
  const [old, next] = [rollover.oldCa, rollover.newCa].map(authorityOf);
  assert.ok(old !== undefined && next !== undefined);
  return { old, next };
}

function authorityOf({ certificatePem }: ClusterCa): RolloverAuthorities['old'] | undefined {
  return readAuthorities(Buffer.from(certificatePem)).authorities[0];
}

async function probe(keys = certificates): Promise<ServerProbe> {
  const { hostname: host, port } = new URL(rollover.server);
  const both = authorities();
  const [found] = await probeServers([{ name: 'cp1', host, port: Number(port) }], {
    cluster: { server: rollover.server, insecureSkipTlsVerify: false },
    authorities: both,
    keys: await findSigningKeys(both, { certificates: keys, files: [] }),
    now: systemClock.now(),
    version,
    clock: systemClock,
    signal: AbortSignal.timeout(60_000),
  });
  assert.ok(found !== undefined);
  return found;
}

async function checkContext(): Promise<CheckContext> {
  const [old, next] = [rollover.oldCa, rollover.newCa].map(({ certificatePem, keyPem }) => ({
    certificate: Buffer.from(certificatePem),
    key: Buffer.from(keyPem),
  }));
  assert.ok(old !== undefined && next !== undefined);
  const apiServer = Number(new URL(rollover.server).port);
  return contextWith({ apiServer }, { clock: systemClock, authorities: { old, next } });
}

async function answers(): Promise<string> {
  const { byOld, byNext } = await probe();
  return `old ${byOld.kind}, new ${byNext.kind}`;
}

describe('probeServers()', { skip }, () => {
  it('tells which CAs are in --client-ca-file of the API server', async () => {
    const { oldCa, newCa } = rollover;
    assert.equal(await answers(), 'old accepted, new rejected');
    await rollover.acceptClientsOf(oldCa, newCa);
    assert.equal(await answers(), 'old accepted, new accepted');
    await rollover.acceptClientsOf(newCa);
    assert.equal(await answers(), 'old rejected, new accepted');
    await rollover.acceptClientsOf(oldCa, newCa);
  });

  it('tells the issuer of the served certificate, and whether a bridge follows it', async () => {
    const { oldCa, newCa } = rollover;
    assert.deepEqual((await probe()).served, { issuedBy: 'old', hasBridge: false });
    await rollover.serve(newCa, await oldCa.bridgeTo(newCa));
    assert.deepEqual((await probe()).served, { issuedBy: 'next', hasBridge: true });
    assert.equal(await answers(), 'old accepted, new accepted');
    await rollover.serve(newCa);
    assert.deepEqual((await probe()).served, { issuedBy: 'next', hasBridge: false });
    await rollover.serve(oldCa);
  });

  it('knows no answer without the keys, and still sees the served certificate', async () => {
    const { byOld, byNext, served } = await probe(tmpdir());
    assert.deepEqual([byOld, byNext], [{ kind: 'no-key' }, { kind: 'no-key' }]);
    assert.equal(served.issuedBy, 'old');
  });

  it('proves that a step of ca-rollover apply is in use', async () => {
    const { oldCa, newCa } = rollover;
    const context = await checkContext();
    const { signal } = new AbortController();
    const served = join(rollover.plane.directory, 'apiserver.crt');
    await rollover.acceptClientsOf(oldCa, newCa);
    await requireClientTrust(context, ['old', 'next'], signal);
    await rollover.serve(newCa, await oldCa.bridgeTo(newCa));
    await requireServed(context, served, signal);
    await rollover.acceptClientsOf(newCa);
    await requireClientTrust(context, ['next'], signal);
    await rollover.serve(newCa);
    await requireServed(context, served, signal);
  });

  it('sends nothing but questions about its own user, which has no permissions', async () => {
    const sent = (await rollover.requests()).filter(({ user }) => user === probeUser);
    assert.ok(sent.length >= 4);
    for (const { verb, resource } of sent) {
      assert.deepEqual([verb, resource], ['create', 'selfsubjectreviews']);
    }
  });
});
