import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { ApproverPlane } from '../support/approver-plane.ts';
import type { ApproverProcessOptions } from '../support/approver-process.ts';
import { ApproverProcess } from '../support/approver-process.ts';
import type { TimedRequest } from '../support/audit-log.ts';
import { freePort } from '../support/free-ports.ts';
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

interface Token {
  readonly text: string;
  /** Its claim `jti`. */
  readonly id: string;
  /** The path of the Secret to which it is bound. */
  readonly secret: string;
}

interface Pod {
  readonly approver: ApproverProcess;
  /** For another process in the Pod. */
  readonly options: Required<ApproverProcessOptions>;
  /** The volume with the token. */
  readonly account: PodVolume;
  readonly token: Token;
  /** The volume of the ConfigMap, and the policy in it. */
  readonly configuration: PodVolume;
  readonly policy: string;
  /** The URLs of the probes. */
  readonly probes: readonly string[];
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

  /** A token that is valid as long as a Secret of this name exists. */
  async function createToken(name: string): Promise<Token> {
    const secrets = `/api/v1/namespaces/${namespace}/secrets`;
    const { admin } = cluster.plane;
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name } };
    await admin.must({ method: 'POST', path: secrets, body: secret });
    const { status } = (await admin.must({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/nodecertd-approver/token`,
      body: { spec: { boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name } } },
    })) as { readonly status: { readonly token: string } };
    const [, claims = ''] = status.token.split('.');
    const { jti } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { jti: string };
    return { text: status.token, id: jti, secret: `${secrets}/${name}` };
  }

  /** Ends a token as its expiry does. */
  async function end({ secret, text }: Token): Promise<void> {
    const { admin } = cluster.plane;
    await admin.must({ method: 'DELETE', path: secret });
    const path = '/apis/authentication.k8s.io/v1/tokenreviews';
    await cluster.until('the end of a token', async () => {
      const body = { spec: { token: text } };
      const { status } = (await admin.must({ method: 'POST', path, body })) as {
        readonly status: { readonly authenticated?: boolean };
      };
      return status.authenticated !== true;
    });
  }

  /** Starts the approver with the volumes, arguments and environment of its Pod. */
  async function startPod(name: string): Promise<Pod> {
    const port = await freePort();
    const objects = await install(port);
    const folder = join(cluster.folder, name);
    const account = new PodVolume(join(folder, 'run/secrets/kubernetes.io/serviceaccount'));
    const configuration = new PodVolume(join(folder, 'etc/nodecertd'));
    for (const { path } of [account, configuration]) await mkdir(path, { recursive: true });
    const token = await createToken(`${name}-1`);
    await writeToken(account, token);
    const { data } = objects.find(({ kind }) => kind === 'ConfigMap') as unknown as {
      readonly data: Readonly<Record<string, string>>;
    };
    await configuration.write(data);
    const { hostname: host, port: apiPort } = new URL(cluster.plane.server);
    const [etc, run] = [join(folder, 'etc'), join(folder, 'run')];
    const options = {
      wrapper: ['unshare', '--mount', 'sh', '-ec', mounts, 'sh', etc, run],
      environment: {
        KUBERNETES_SERVICE_HOST: host,
        KUBERNETES_SERVICE_PORT: apiPort,
        // A file of the machine, which the process cannot see.
        NODE_EXTRA_CA_CERTS: '',
        // Without a kubeconfig of the machine.
        KUBECONFIG: '',
        HOME: folder,
      },
    };
    const { args, livenessProbe, readinessProbe } = containerOf(objects);
    assert.equal(args[0], 'approver');
    const approver = new ApproverProcess(args.slice(1), options);
    const url = `http://127.0.0.1:${port}`;
    const probes = [livenessProbe, readinessProbe].map(({ httpGet }) => `${url}${httpGet.path}`);
    return {
      approver,
      options,
      account,
      token,
      configuration,
      policy: data['policy.yaml'] ?? '',
      probes,
    };
  }

  async function writeToken(account: PodVolume, { text: token }: Token): Promise<void> {
    await account.write({ 'ca.crt': cluster.plane.caPem, token, namespace });
  }

  /** Creates a Node and a CSR of it, and waits for the approval. */
  async function approval(node: string): Promise<string> {
    await cluster.setNode(node, [{ type: 'Hostname', address: node }]);
    const name = await cluster.createCsr({ node, dns: [node] });
    assert.equal(await cluster.decided(name), 'Approved ServingPolicyPassed');
    return name;
  }

  /** The requests with one of these tokens. */
  async function requestsWith(...tokens: readonly Token[]): Promise<readonly TimedRequest[]> {
    const ids = tokens.map(({ id }) => id);
    return (await cluster.plane.requests()).filter(({ tokenId = '' }) => ids.includes(tokenId));
  }

  it('approves with the service account, and reads a changed ConfigMap', async () => {
    const { approver, probes, configuration, policy, token } = await startPod('plain');
    await using running = approver;
    await cluster.until('a leader', () => running.leads);
    const name = await approval('n1');
    await cluster.until('an Event', async () => (await cluster.events(name)).includes('Approved'));
    assert.equal(
      (await lease()).spec.holderIdentity,
      approver.logged('approver_started')[0]?.['identity'],
    );
    const requests = await requestsWith(token);
    assert.ok(requests.length > 0);
    assert.deepEqual(
      requests.filter(({ code }) => code === 403),
      [],
    );
    for (const url of probes) {
      await cluster.until(url, async () => (await fetch(url)).status === 200);
    }

    await configuration.write({ 'policy.yaml': `${policy}mode: approve-only\n` });
    await cluster.until('the changed policy', () => {
      return approver.logged('policy_reloaded').some((line) => line['mode'] === 'approve-only');
    });
    approver.signal('SIGTERM');
    assert.equal(await approver.ended(), 0);
  });

  it('explains as the approver decides, with the service account and its permissions', async () => {
    const { approver, options } = await startPod('explain');
    await using running = approver;
    await cluster.until('a leader', () => running.leads);
    const csr = await cluster.createCsr({ node: 'early', dns: ['early'] });
    const held = await cluster.until('a hold', () => {
      return approver.logged('csr_held').find((line) => line['csr'] === csr);
    });
    const { code, reason, message } = await explain(options, csr);
    assert.deepEqual([code, reason, message], [3, held['reason'], held['decision']]);
    approver.signal('SIGTERM');
    await approver.ended();
  });

  it('uses the renewed token, and fails no request when the previous one ends', async () => {
    const { approver, account, token } = await startPod('renewed');
    await using running = approver;
    await cluster.until('a leader', () => running.leads);
    await approval('before');
    const renewed = await createToken('renewed-2');
    await writeToken(account, renewed);
    await cluster.until('the new token', async () => (await requestsWith(renewed)).length > 0, 120);
    await end(token);
    const name = await approval('after');
    const requests = await requestsWith(token, renewed);
    const writes = requests.filter((request) => request.name === name);
    assert.deepEqual(
      writes.map(({ verb, code, tokenId }) => [verb, code, tokenId]),
      [['update', 200, renewed.id]],
    );
    assert.deepEqual(approver.logged('approver_retrying'), []);

    // The kubelet was late: the token ended before the approver read the next one.
    const late = await createToken('renewed-3');
    await writeToken(account, late);
    await end(renewed);
    await approval('late');
    const failures = approver.logged('approver_retrying').map((line) => line['code']);
    assert.ok(failures.every((code) => code === 'API_UNAUTHORIZED'));
    approver.signal('SIGTERM');
    await approver.ended();
  });

  async function lease(): Promise<{ readonly spec: { readonly holderIdentity: string } }> {
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/nodecertd-approver`;
    return (await cluster.plane.admin.must({ method: 'GET', path })) as {
      readonly spec: { readonly holderIdentity: string };
    };
  }
});

/** As `kubectl exec` does in the Pod. */
async function explain(
  { wrapper, environment }: Required<ApproverProcessOptions>,
  csr: string,
): Promise<{ readonly code: number; readonly reason: string; readonly message: string }> {
  const [program, ...args] = [...wrapper, process.execPath, main, 'approver', 'explain', csr];
  const flags = ['--policy', '/etc/nodecertd/policy.yaml', '-o', 'json'];
  const env = { ...process.env, ...environment };
  return new Promise((resolve, reject) => {
    execFile(program, [...args, ...flags], { env }, (error, stdout, stderr) => {
      if (stdout === '') reject(new Error(stderr));
      else resolve({ ...JSON.parse(stdout), code: error === null ? 0 : Number(error.code) });
    });
  });
}

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
