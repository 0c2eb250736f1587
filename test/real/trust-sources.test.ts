import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { minute } from '../../src/core/instant.ts';
import { Secret } from '../../src/core/secret.ts';
import type { TrustAuthority } from '../../src/core/trust.ts';
import type { ClusterAccess } from '../../src/kube/cluster-access.ts';
import { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { checkBundle } from '../../src/trust/node/bundle-check.ts';
import { isBehind, issuerOf, issuingAuthority } from '../../src/trust/node/issuer.ts';
import type { DialedServer } from '../../src/trust/node/servers.ts';
import { dialServers, unverifiedRefusal } from '../../src/trust/node/servers.ts';
import type { SourceReading } from '../../src/trust/node/source.ts';
import { readSources } from '../../src/trust/node/sources.ts';
import { authorityOf, issueWithOpenssl } from '../pki/renewal/openssl-authority.ts';
import { keyPairOf } from '../fault/api/proxied-node.ts';
import type { ClusterCa, KeyPair } from '../support/cluster-pki.ts';
import { DiscoveryPlane } from '../support/discovery-plane.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import { bundleOf, RolloverPlane } from '../support/rollover-plane.ts';
import { until } from '../support/until.ts';

const skip = skipWithoutRealControlPlane();
const signerName = 'kubernetes.io/kube-apiserver-client-kubelet';
const nodeLeaf = {
  commonName: 'system:node:worker-1',
  organizations: ['system:nodes'],
  usage: 'client auth',
} as const;
const context = { version: '1.2.3', clock: systemClock, signal: AbortSignal.timeout(300_000) };

interface Trusting {
  readonly server: string;
  readonly trusted: string;
  readonly pair: KeyPair;
}

/** As a kubelet's kubeconfig. */
function accessOf({ server, trusted, pair }: Trusting): ClusterAccess {
  const pem = new Uint8Array(Buffer.from(trusted));
  const key = new Secret(new Uint8Array(Buffer.from(pair.keyPem)));
  return {
    path: '/etc/kubernetes/kubelet.conf',
    cluster: { server, certificateAuthority: { pem }, insecureSkipTlsVerify: false },
    credential: {
      clientCertificate: { pem: new Uint8Array(Buffer.from(pair.certificatePem)), key },
    },
    [Symbol.dispose]: () => key.wipe(),
  };
}

function authoritiesOf(...cas: readonly ClusterCa[]): TrustAuthority[] {
  return readAuthorities(Buffer.from(bundleOf(...cas))).authorities;
}

/** The outcome of each source, and the number of its CAs. */
function summary(readings: readonly SourceReading[]): string[] {
  return readings.map((reading) => {
    if (reading.outcome === 'failed') return `${reading.kind}: ${reading.failure.message}`;
    if (reading.outcome === 'absent') return `${reading.kind}: ${reading.reason}`;
    return `${reading.kind}: ${readAuthorities(reading.pem).authorities.length}`;
  });
}

/** Each test continues where the previous one ended, in the order of a rollover. */
describe('The CAs of a cluster, as one of its nodes sees them', { skip, timeout: 180_000 }, () => {
  let rollover: RolloverPlane;
  let oldCa: ClusterCa;
  let newCa: ClusterCa;
  let pair: KeyPair;

  before(async () => {
    rollover = await RolloverPlane.start();
    ({ oldCa, newCa } = rollover);
    pair = await oldCa.issue(nodeLeaf);
    await rollover.plane.setNodeAddresses('worker-1', []);
    await until('a trust bundle', async () => (await rollover.trustBundles()).length > 0);
  });
  after(async () => rollover?.[Symbol.asyncDispose]());

  async function read(trusted = oldCa.certificatePem): Promise<SourceReading[]> {
    using access = accessOf({ server: rollover.server, trusted, pair });
    return await readSources({ ...context, access });
  }

  function dial(...cas: readonly ClusterCa[]): Promise<DialedServer[]> {
    const { server } = rollover;
    const cluster = { server, insecureSkipTlsVerify: false };
    const access = { path: '/etc/kubernetes/kubelet.conf', cluster };
    return dialServers({ ...context, access, authorities: authoritiesOf(...cas) });
  }

  async function issuing(leaf: KeyPair): Promise<TrustAuthority | undefined> {
    const trusted = rollover.bundle;
    const { server } = rollover;
    using access = accessOf({ server, trusted, pair });
    await using client = await KubeClient.open({ ...context, access });
    const { signal } = context;
    return await issuingAuthority({
      signerName,
      leaf: Buffer.from(leaf.certificatePem + leaf.keyPem),
      authorities: authoritiesOf(oldCa, newCa),
      served: async () => [],
      client,
      signal,
    });
  }

  it('reads the bundle of kube-controller-manager, and cluster-info without a credential', async () => {
    const readings = await read();
    assert.deepEqual(summary(readings), ['cluster-trust-bundle: 1', 'cluster-info: 1']);
    for (const reading of readings) {
      assert.equal(reading.outcome, 'read');
      const verdict = checkBundle(reading.pem, {
        source: reading,
        held: [],
        pins: [],
        now: Date.now(),
      });
      assert.deepEqual(verdict, { kind: 'accepted', authorities: authoritiesOf(oldCa) });
    }
    // The audit log leaves out anonymous users, and the Node authorizer forbids cluster-info.
    const requests = (await rollover.requests())
      .filter(({ user }) => user === nodeLeaf.commonName)
      .map(({ verb, resource, code }) => `${verb} ${resource} ${code}`);
    assert.deepEqual(requests, ['list clustertrustbundles 200']);
  });

  it('reads both while they differ', async () => {
    await rollover.publish(oldCa, newCa);
    await until('a trust bundle with both CAs', async () => {
      return (await rollover.trustBundles()).some((bundle) => certificatesIn(bundle) === 2);
    });
    assert.deepEqual(summary(await read()), ['cluster-trust-bundle: 2', 'cluster-info: 1']);
    await rollover.announce(oldCa, newCa);
    assert.deepEqual(summary(await read()), ['cluster-trust-bundle: 2', 'cluster-info: 2']);
  });

  it('reads nothing from an API server that it does not trust', async () => {
    const readings = await read(newCa.certificatePem);
    const codes = readings.map((one) => one.outcome === 'failed' && one.failure.code);
    assert.deepEqual(codes, ['API_UNTRUSTED', 'API_UNTRUSTED']);
  });

  it('says that anonymous users may not read cluster-info', async () => {
    await rollover.discovery.setPublic(false);
    await until('the end of the permission', async () => {
      const [, clusterInfo] = await read();
      return clusterInfo?.outcome === 'absent';
    });
    assert.deepEqual(summary(await read()), [
      'cluster-trust-bundle: 2',
      'cluster-info: anonymous users may not read cluster-info (HTTP status 403)',
    ]);
    await rollover.discovery.setPublic(true);
  });

  it('refuses CAs that do not verify what the API server serves', async () => {
    const source = { kind: 'file', name: '/etc/nodecertd/ca.crt' } as const;
    assert.equal(unverifiedRefusal(await dial(oldCa, newCa), source), undefined);
    assert.equal(unverifiedRefusal(await dial(oldCa), source), undefined);
    const refusal = unverifiedRefusal(await dial(newCa), source);
    assert.equal(refusal?.reason, 'does-not-verify-server');
    assert.match(
      refusal.message,
      /127\.0\.0\.1:\d+, which serves a certificate with the issuer CN=kubernetes /,
    );
  });

  it('verifies a server of the new CA by the old one while the bridge is served', async () => {
    await rollover.acceptClientsOf(oldCa, newCa);
    await rollover.serve(newCa, await oldCa.bridgeTo(newCa));
    for (const cas of [[oldCa], [newCa], [oldCa, newCa]]) {
      assert.deepEqual(kindsOf(await dial(...cas)), ['verified']);
    }
    await rollover.serve(newCa);
    assert.deepEqual(kindsOf(await dial(oldCa)), ['unverified']);
    assert.deepEqual(kindsOf(await dial(oldCa, newCa)), ['verified']);
  });

  it('the API server uses CAs of every kind that the checks accept', async () => {
    const kinds = ['RSA 2048', 'P-384', 'P-521', 'Ed25519'] as const;
    const cas = kinds.map((key) => authorityOf({ key, subject: `/CN=${key}` }));
    const bundle = bundleOf(oldCa, newCa) + cas.map(({ certificate }) => certificate).join('');
    const source = { kind: 'file', name: '/etc/nodecertd/ca.crt' } as const;
    const check = { source, held: [], pins: [], now: Date.now() + minute };
    assert.equal(checkBundle(Buffer.from(bundle), check).kind, 'accepted');
    await rollover.plane.replaceFiles({ 'client-ca.crt': bundle });
    for (const signer of cas) {
      const extensions = ['extendedKeyUsage=clientAuth'];
      const leaf = issueWithOpenssl({ subject: '/CN=probe', extensions, signer });
      const probe = { certificatePem: leaf.certificate.toString(), keyPem: leaf.key.toString() };
      await until('a client that is accepted', async () => {
        return (await rollover.statusFor(probe)) === 403;
      });
    }
  });

  it('finds the CA of the signer in the CSRs that a node may list', async () => {
    const [old, next] = authoritiesOf(oldCa, newCa);
    await using node = rollover.plane.clientAs(nodeLeaf.commonName, ['system:nodes']);
    const leaf = await rollover.requestNodePair(node, 'worker-1');
    assert.deepEqual(await issuing(leaf), old);
    await rollover.signWith(newCa);
    // Times in certificates have whole seconds, so the first one from the new CA may not be the newest.
    await until('a certificate that is the newest', async () => {
      await rollover.requestNodePair(node, 'worker-1');
      return (await issuing(leaf))?.fingerprint === next?.fingerprint;
    });
    const issuer = issuerOf(Buffer.from(leaf.certificatePem), authoritiesOf(oldCa, newCa));
    assert.equal(isBehind(issuer, next), true);
  });
});

describe('The sources of CAs in Kubernetes without ClusterTrustBundles', { skip }, () => {
  it('are cluster-info alone', async () => {
    const disabled = '--runtime-config=certificates.k8s.io/v1/clustertrustbundles=false';
    await using plane = await startRealControlPlane({
      signingSeconds: 3_600,
      apiServerFlags: [disabled],
    });
    await DiscoveryPlane.of(plane);
    const pair = keyPairOf(await plane.adminKubeconfig());
    using access = accessOf({ server: plane.server, trusted: plane.caPem, pair });
    assert.deepEqual(summary(await readSources({ ...context, access })), [
      'cluster-trust-bundle: the API server has no ClusterTrustBundles (Kubernetes before 1.37)',
      'cluster-info: 1',
    ]);
  });
});

function kindsOf(dialed: readonly DialedServer[]): string[] {
  return dialed.map(({ kind }) => kind);
}

function certificatesIn(bundle: string): number {
  return readAuthorities(Buffer.from(bundle)).authorities.length;
}
