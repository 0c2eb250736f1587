import assert from 'node:assert/strict';
import type { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { fingerprintOf, parsePair } from '../support/agent.ts';
import type { TimedRequest } from '../support/audit-log.ts';
import { createClusterCa } from '../support/cluster-pki.ts';
import { parseTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import type { TrustDocument } from '../../src/core/trust-document.ts';
import { builtPackage, requirePackages } from '../support/built-packages.ts';
import { bootKubeletNode, skipWithoutKubeletNode } from '../support/kubelet-node.ts';
import type { Container } from '../support/nspawn.ts';
import { startRealControlPlane } from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import { TlsProber } from '../support/tls-prober.ts';
import { NodeWatch } from '../support/node-watch.ts';

const kubelet = 'kubelet.service';
const agent = 'nodecertd.service';
const nodeName = 'worker-1';
const kubeletPort = 10_250;
const nodeUser = `system:node:${nodeName}`;
const pki = '/var/lib/kubelet/pki';
const rotations = 10;
/** client-go, transport/cert_rotation.go: CertCallbackRefreshDuration. */
const kubeletRefreshMs = 5 * 60_000;
/** kubelet.config.k8s.io/v1beta1: nodeLeaseDurationSeconds. */
const leaseMs = 40_000;

const configuration = {
  apiVersion: 'nodecertd.io/v1alpha1',
  kind: 'AgentConfiguration',
  nodeName,
  bootstrapKubeconfig: '/etc/kubernetes/bootstrap-kubelet.conf',
  certificates: [
    { name: 'kubelet-client', profile: 'kubelet-client' },
    {
      name: 'kubelet-server',
      profile: 'kubelet-serving',
      served: { endpoints: [`127.0.0.1:${kubeletPort}`] },
    },
  ],
  metrics: { address: '127.0.0.1:0' },
};

const skip = skipWithoutKubeletNode();

/**
 * Installs the package on the node of a kubelet that rotates by itself. Each test
 * continues where the previous one ended.
 */
describe('the service beside a kubelet', { skip, timeout: 900_000 }, () => {
  let container: Container;
  let controlPlane: RealControlPlane;
  let approving: NodeJS.Timeout;
  let adopted: { readonly pid: string; readonly at: number };
  let prober: TlsProber;
  let node: NodeWatch;
  /** The CA of the cluster, and another one. */
  let bundle: string;

  before(async () => {
    requirePackages();
    controlPlane = await startRealControlPlane({ signingSeconds: 3_600 });
    container = await bootKubeletNode({ nodeName, port: kubeletPort, controlPlane });
    await container.must('apt-get', 'install', '--yes', await container.take(builtPackage.file));
    await container.write('/etc/nodecertd/config.yaml', stringify(configuration));
    approving = setInterval(() => void approveServing(), 500);
  });
  after(async () => {
    clearInterval(approving);
    prober?.[Symbol.dispose]();
    await node?.[Symbol.asyncDispose]();
    await container?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  /** Kubernetes has no approver for serving certificates. */
  async function approveServing(): Promise<void> {
    const csrs = await controlPlane.csrs();
    for (const { name, signerName, conditions } of csrs) {
      if (signerName !== 'kubernetes.io/kubelet-serving' || conditions.length > 0) continue;
      await controlPlane.approve(name);
    }
  }

  async function pid(unit: string): Promise<string> {
    return container.property(unit, 'MainPID');
  }

  async function pair(name: 'kubelet-client' | 'kubelet-server'): Promise<X509Certificate> {
    return parsePair(await container.must('cat', `${pki}/${name}-current.pem`));
  }

  async function fingerprint(name: 'kubelet-client' | 'kubelet-server'): Promise<string> {
    return fingerprintOf(await pair(name));
  }

  /** Names, sizes and times. */
  async function filesBeside(): Promise<string> {
    return container.must('ls', '-l', '--full-time', pki);
  }

  async function serial(name: 'kubelet-client' | 'kubelet-server'): Promise<string> {
    return (await pair(name)).serialNumber;
  }

  async function states(): Promise<string[]> {
    const { stdout } = await container.run('nodecertd', 'status', '--output', 'json');
    const { certificates } = JSON.parse(stdout) as { certificates: { state: string }[] };
    return certificates.map(({ state }) => state);
  }

  async function untilStates(...expected: string[]): Promise<void> {
    await container.until(`certificates that are ${expected.join(', ')}`, async () =>
      (await states()).join() === expected.join() ? true : undefined,
    );
  }

  async function requestsSince(instant: number): Promise<readonly TimedRequest[]> {
    const requests = await controlPlane.requests();
    return requests.filter(({ receivedAt }) => receivedAt >= instant);
  }

  it('finds a kubelet that is Ready with its own certificates', async () => {
    await container.must('systemctl', 'enable', '--now', kubelet);
    await container.until('its serving certificate', async () =>
      (await container.has(`${pki}/kubelet-server-current.pem`)) ? true : undefined,
    );
    node = new NodeWatch(controlPlane.admin, nodeName);
    await container.until('a Node that is Ready', async () => node.ready || undefined);
  });

  it('defers to the kubelet and makes no request', async () => {
    const before = [await serial('kubelet-client'), await serial('kubelet-server')];
    const filesBefore = await filesBeside();
    const since = Date.now();
    await container.must('systemctl', 'enable', '--now', agent);
    await untilStates('observing', 'observing');
    assert.match(await container.property(agent, 'StatusText'), /^2 of 2 certificates valid/);
    assert.deepEqual([await serial('kubelet-client'), await serial('kubelet-server')], before);
    const asked = (await requestsSince(since)).filter(({ userAgent }) =>
      userAgent.startsWith('nodecertd/'),
    );
    assert.deepEqual(
      asked.filter(({ resource }) => resource === 'certificatesigningrequests'),
      [],
    );
    assert.equal(await filesBeside(), filesBefore);
  });

  it('adopts the kubelet with one restart, after showing the changes', async () => {
    const before = [await serial('kubelet-client'), await serial('kubelet-server')];
    const plan = await container.run('nodecertd', 'adopt');
    assert.equal(plan.code, 3, plan.stderr);
    assert.match(plan.stdout, /^\+rotateCertificates: false$/m);
    const old = await pid(kubelet);
    await container.must('nodecertd', 'adopt', '--yes', '--restart');
    adopted = { pid: await pid(kubelet), at: Date.now() };
    assert.notEqual(adopted.pid, old);
    await untilStates('valid', 'valid');
    assert.deepEqual([await serial('kubelet-client'), await serial('kubelet-server')], before);
    await container.must('nodecertd', 'adopt');
  });

  it(`renews both pairs ${rotations} times while clients connect`, async () => {
    const { caPem } = controlPlane;
    prober = new TlsProber({ port: kubeletPort, serverName: nodeName, caPem, perSecond: 5 });
    const seen = new Set([await serial('kubelet-client'), await serial('kubelet-server')]);
    for (let done = 0; done < rotations; done++) {
      // Waits until the kubelet serves the new certificate.
      await container.must('nodecertd', 'renew');
      seen.add(await serial('kubelet-client')).add(await serial('kubelet-server'));
    }
    assert.equal(seen.size, 2 + 2 * rotations);
  });

  it('makes the kubelet use the newest client pair within five minutes', async (t) => {
    const newest = await fingerprint('kubelet-client');
    const used = await container.until(
      'a request of the kubelet with the newest pair',
      async () => {
        const requests = await requestsSince(adopted.at);
        return requests.find(
          (one) => one.userAgent.startsWith('kubelet/') && one.fingerprint === newest,
        );
      },
      kubeletRefreshMs + leaseMs,
    );
    assert.equal(used.code, 200);
    t.diagnostic(`${seconds(used.receivedAt - adopted.at)} after the kubelet was started`);
  });

  it('had no failed handshake, no refused request, and a Ready Node', async (t) => {
    prober[Symbol.dispose]();
    assert.equal(await pid(kubelet), adopted.pid);
    assert.deepEqual(prober.failed, []);
    assert.equal(new Set(prober.handshakes.map((one) => one.fingerprint)).size, rotations + 1);
    assert.ok(node.watching);
    assert.deepEqual(node.unready, []);
    const requests = await requestsSince(adopted.at);
    assert.deepEqual(
      requests.filter(({ code }) => code === 401),
      [],
    );
    const leases = requests.filter(
      ({ user, resource, code }) => user === nodeUser && resource === 'leases' && code === 200,
    );
    const moments = [adopted.at, ...leases.map(({ receivedAt }) => receivedAt), Date.now()];
    const gaps = moments.slice(1).map((moment, index) => moment - (moments[index] ?? 0));
    const longest = Math.max(...gaps);
    assert.ok(longest < leaseMs, `${seconds(longest)} without a lease`);
    const { length: handshakes } = prober.handshakes;
    t.diagnostic(
      `${handshakes} handshakes, ${requests.length} requests, a lease every ${seconds(longest)} at the latest`,
    );
  });

  /** The agent reads this file with the CAs of the cluster at once. */
  async function trustCasIn(file: string): Promise<void> {
    const trust = { enabled: true, file, spread: '0s' };
    await container.write('/etc/nodecertd/config.yaml', stringify({ ...configuration, trust }));
    await container.must('systemctl', 'reload', agent);
  }

  /** What the agent knows about the CAs, once the condition holds. */
  async function untilTrust(
    what: string,
    isReached: (report: TrustDocument) => boolean,
  ): Promise<TrustDocument> {
    return container.until(what, async () => {
      const { stdout } = await container.run('nodecertd', 'status', '--output', 'json');
      const { trustSync } = JSON.parse(stdout) as {
        readonly trustSync?: { readonly report?: TrustDocument };
      };
      const report = trustSync?.report;
      return report !== undefined && isReached(report) ? report : undefined;
    });
  }

  it('adds a CA to the embedded ones, and restarts the kubelet from its sandbox', async () => {
    const next = await createClusterCa({ commonName: 'kubernetes 2' });
    bundle = controlPlane.caPem + next.certificatePem;
    await container.write('/etc/kubernetes/cluster-ca.pem', bundle);
    await trustCasIn('/etc/kubernetes/cluster-ca.pem');
    await untilTrust('a kubelet that uses both CAs', ({ stage }) => stage === 'union');
    assert.notEqual(await pid(kubelet), adopted.pid);
    const embedded = Buffer.from(bundle).toString('base64');
    const text = await container.must('cat', '/etc/kubernetes/kubelet.conf');
    assert.ok(text.includes(`certificate-authority-data: ${embedded}\n`));
    const path = `/api/v1/nodes/${nodeName}`;
    const { metadata } = (await controlPlane.admin.must({ method: 'GET', path })) as {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
    };
    const report = parseTrustAnnotation(metadata.annotations[trustAnnotationKey] ?? '');
    assert.equal(report?.places.kubeconfig.length, 2);
    assert.equal(report?.readers, 'ok');
  });

  it('restores the previous CAs if the kubelet does not start with others', async () => {
    const file = '/etc/systemd/system/kubelet.service.d/99-at-most-two.conf';
    const count = 'grep -c BEGIN /etc/kubernetes/pki/ca.crt';
    await container.write(file, `[Service]\nExecStartPre=/bin/sh -c '[ $(${count}) -le 2 ]'\n`);
    await container.must('systemctl', 'daemon-reload');
    const third = await createClusterCa({ commonName: 'kubernetes 3' });
    await container.write('/etc/kubernetes/three-cas.pem', bundle + third.certificatePem);
    await trustCasIn('/etc/kubernetes/three-cas.pem');
    await untilTrust('a rollback', ({ findings }) =>
      findings.some(({ id }) => id === 'trust_rolled_back'),
    );
    assert.equal(await container.must('cat', '/etc/kubernetes/pki/ca.crt'), bundle);
    assert.equal(await container.property(kubelet, 'ActiveState'), 'active');
    assert.match(await container.journal(agent), /trust_failed.*KUBELET_RESTART/);
    // A revert of the adoption has to find the kubeconfig of the adoption.
    await container.must('nodecertd', 'trust', 'rollback', '--yes');
    assert.equal(await container.must('cat', '/etc/kubernetes/pki/ca.crt'), controlPlane.caPem);
  });

  it('reverts, and the kubelet rotates by itself again', async () => {
    // These certificates are due as soon as the kubelet checks them.
    await controlPlane.setSigningSeconds(90);
    await container.must('nodecertd', 'renew');
    const before = [await serial('kubelet-client'), await serial('kubelet-server')];
    const since = Date.now();
    await container.must('nodecertd', 'adopt', '--revert', '--yes', '--restart');
    await untilStates('observing', 'observing');
    await container.until(
      'pairs that the kubelet has replaced',
      async () => {
        const now = [await serial('kubelet-client'), await serial('kubelet-server')];
        return now.every((one, index) => one !== before[index]) || undefined;
      },
      2 * 90_000,
    );
    const created = (await requestsSince(since)).filter(
      ({ verb, resource }) => verb === 'create' && resource === 'certificatesigningrequests',
    );
    assert.ok(created.length >= 2, JSON.stringify(created));
    assert.ok(created.every(({ userAgent }) => userAgent.startsWith('kubelet/')));
  });
});

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1_000).toFixed(1)} s`;
}
