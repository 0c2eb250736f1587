import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { ApproverPlane } from '../support/approver-plane.ts';
import type { ApproverProcessOptions } from '../support/approver-process.ts';
import { ApproverProcess } from '../support/approver-process.ts';
import { objectsOf, renderChart, skipWithoutHelm } from '../support/helm.ts';
import type { KubernetesObject } from '../support/helm.ts';
import { PodVolume } from '../support/pod-volumes.ts';
import { skip as skipReason } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const namespace = 'approver-pod';

interface Container {
  readonly args: readonly string[];
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
}

interface Probe {
  readonly httpGet: { readonly path: string };
}

interface Deployment extends KubernetesObject {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly Container[] } };
  };
}

function skipWithoutRoot(): string | false {
  return process.getuid?.() === 0 ? false : skipReason('tests that mount folders: need root');
}

const skip = skipWithoutRealControlPlane() || skipWithoutHelm() || skipWithoutRoot();

describe('nodecertd approver in the environment of a Pod of the chart', { skip }, () => {
  let cluster: ApproverPlane;
  before(async () => {
    cluster = await ApproverPlane.start();
    await cluster.plane.kubectl('create', 'namespace', namespace);
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  /** Creates the objects of the chart, without those that need a node. */
  async function install(port: number): Promise<readonly KubernetesObject[]> {
    const address = ['--set', `metrics.host=127.0.0.1,metrics.port=${port}`];
    const objects = objectsOf(await renderChart(namespace, ...address));
    const file = join(cluster.folder, 'objects.yaml');
    await writeFile(file, objects.map((object) => stringify(object)).join('---\n'));
    await cluster.plane.kubectl('apply', '-f', file);
    return objects;
  }

  async function token(): Promise<string> {
    const { status } = (await cluster.plane.admin.must({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/nodecertd-approver/token`,
      body: { spec: { expirationSeconds: 3_600 } },
    })) as { readonly status: { readonly token: string } };
    return status.token;
  }

  it('approves with the service account, and reads a changed ConfigMap', async () => {
    const port = await freePort();
    const objects = await install(port);
    const { args, livenessProbe, readinessProbe } = containerOf(objects);
    assert.equal(args[0], 'approver');

    const etc = join(cluster.folder, 'etc');
    const run = join(cluster.folder, 'run');
    const account = new PodVolume(join(run, 'secrets/kubernetes.io/serviceaccount'));
    await mkdir(account.path, { recursive: true });
    await account.write({ 'ca.crt': cluster.plane.caPem, token: await token(), namespace });
    const configuration = new PodVolume(join(etc, 'nodecertd'));
    await mkdir(configuration.path, { recursive: true });
    const { data } = objects.find(({ kind }) => kind === 'ConfigMap') as unknown as {
      readonly data: Readonly<Record<string, string>>;
    };
    await configuration.write(data);

    const { hostname: host, port: apiPort } = new URL(cluster.plane.server);
    const pod = {
      wrapper: ['unshare', '--mount', 'sh', '-ec', mounts, 'sh', etc, run],
      environment: {
        KUBERNETES_SERVICE_HOST: host,
        KUBERNETES_SERVICE_PORT: apiPort,
        // A file of the machine, which the process cannot see.
        NODE_EXTRA_CA_CERTS: '',
        // Without a kubeconfig of the machine.
        KUBECONFIG: '',
        HOME: cluster.folder,
      },
    };
    await using approver = new ApproverProcess(args.slice(1), pod);
    await cluster.until('a leader', () => approver.leads);
    await cluster.setNode('n1', [{ type: 'Hostname', address: 'n1' }]);
    const name = await cluster.createCsr({ node: 'n1', dns: ['n1'] });
    assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    await cluster.until('an Event', async () => (await cluster.events(name)).includes('Approved'));
    assert.equal(
      (await lease()).spec.holderIdentity,
      approver.logged('approver_started')[0]?.['identity'],
    );
    const requests = (await cluster.plane.requests()).filter(({ user }) =>
      user.includes(namespace),
    );
    assert.ok(requests.length > 0);
    assert.deepEqual(
      requests.filter(({ code }) => code === 403),
      [],
    );

    const early = await cluster.createCsr({ node: 'n2', dns: ['n2'] });
    const held = await cluster.until('a hold', () => {
      return approver.logged('csr_held').find((line) => line['csr'] === early);
    });
    const explained = await explain(pod, early);
    assert.deepEqual(
      [explained.code, explained.reason, explained.message],
      [3, held['reason'], held['decision']],
    );

    for (const { httpGet } of [livenessProbe, readinessProbe]) {
      await cluster.until(httpGet.path, async () => {
        return (await fetch(`http://127.0.0.1:${port}${httpGet.path}`)).status === 200;
      });
    }

    await configuration.write({ 'policy.yaml': `${data['policy.yaml']}mode: approve-only\n` });
    await cluster.until('the changed policy', () => {
      return approver.logged('policy_reloaded').some((line) => line['mode'] === 'approve-only');
    });
    approver.signal('SIGTERM');
    assert.equal(await approver.ended(), 0);
  });

  /** As `kubectl exec` does in the Pod. */
  async function explain(
    { wrapper, environment }: Required<ApproverProcessOptions>,
    csr: string,
  ): Promise<{ readonly code: number; readonly reason: string; readonly message: string }> {
    const [program = '', ...rest] = [...wrapper, process.execPath, main, 'approver', 'explain', csr];
    const args = [...rest, '--policy', '/etc/nodecertd/policy.yaml', '-o', 'json'];
    const env = { ...process.env, ...environment };
    return new Promise((resolve, reject) => {
      execFile(program, args, { env }, (error, stdout, stderr) => {
        if (stdout === '') reject(new Error(stderr));
        else resolve({ ...JSON.parse(stdout), code: error === null ? 0 : Number(error.code) });
      });
    });
  }

  async function lease(): Promise<{ readonly spec: { readonly holderIdentity: string } }> {
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/nodecertd-approver`;
    return (await cluster.plane.admin.must({ method: 'GET', path })) as {
      readonly spec: { readonly holderIdentity: string };
    };
  }
});

/** In a mount namespace of its own: the volumes of the Pod at the paths that the chart names. */
const mounts = `
mount --bind "$1" /etc
mount --bind "$2" /run
shift 2
exec "$@"
`;

function containerOf(objects: readonly KubernetesObject[]): Container {
  const deployment = objects.find(({ kind }) => kind === 'Deployment') as Deployment | undefined;
  const [container] = deployment?.spec.template.spec.containers ?? [];
  assert.ok(container);
  return container;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
