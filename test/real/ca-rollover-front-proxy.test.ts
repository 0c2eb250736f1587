import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { KubeClient } from '../../src/kube/rest-client.ts';
import { readAggregatedApis } from '../../src/kube/aggregated-apis.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { RolloverSide } from '../../src/trust/cluster/gate.ts';
import type { CheckContext } from '../../src/trust/control-plane/check.ts';
import { clientAuthoritiesTask } from '../../src/trust/control-plane/client-authorities-task.ts';
import {
  probeFrontProxy,
  requireFrontProxyTrust,
} from '../../src/trust/control-plane/front-proxy-trust.ts';
import type { RolloverNode } from '../../src/trust/control-plane/node-files.ts';
import { readRolloverNode } from '../../src/trust/control-plane/node-files.ts';
import type {
  AnyNodeStepName,
  NodeStep,
  NodeStepName,
} from '../../src/trust/control-plane/node-step.ts';
import { planNodeStep } from '../../src/trust/control-plane/node-step.ts';
import type { StepCluster } from '../../src/trust/control-plane/steps/step-cluster.ts';
import { runStep } from '../../src/trust/control-plane/task-run.ts';
import { Tree } from '../../src/sys/tree.ts';
import { writePair } from '../pki/renewal/renewal-tree.ts';
import { frontProxyAbort } from '../../src/trust/control-plane/steps/front-proxy-abort.ts';
import { frontProxyCluster } from '../../src/trust/control-plane/steps/front-proxy.ts';
import { clientFor } from '../kube/support/kubeconfig-client.ts';
import { issueWithOpenssl } from '../pki/renewal/openssl-authority.ts';
import { Child } from '../support/child.ts';
import { skipWithoutExtensionServer } from '../support/extension-server.ts';
import { freePorts } from '../support/free-ports.ts';
import { scaled } from '../support/machine-speed.ts';
import { controlPlaneDirectory, extensionProgram } from '../support/programs.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import { contextWith } from '../trust/control-plane/check-context.ts';
import { makeTestAuthority } from '../trust/node/authority.ts';

/** The parts of a rollover of the CA `front-proxy`, on a real kube-apiserver and extension API server. */

const skip = skipWithoutRealControlPlane() || skipWithoutExtensionServer();
const signal = AbortSignal.timeout(scaled(120_000));
const old = makeTestAuthority({ subject: '/CN=front-proxy-ca' });
const next = makeTestAuthority({ subject: '/CN=front-proxy-ca 2026-11' });
const name = 'v1alpha1.wardle.example.com';
const path = '/apis/wardle.example.com/v1alpha1';

let directory: string;
let plane: RealControlPlane;
let client: KubeClient;
let context: CheckContext;
const children: Child[] = [];

before(async () => {
  if (skip !== false) return;
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-front-proxy-'));
  await writePair(fileIn('front-proxy-ca.crt'), old);
  await writePair(fileIn('front-proxy-ca-next.crt'), next);
  const extensions = ['extendedKeyUsage=clientAuth'];
  const subject = '/CN=front-proxy-client';
  const leaf = issueWithOpenssl({ subject, extensions, signer: old });
  await writePair(fileIn('front-proxy-client.crt'), leaf);
  plane = await startRealControlPlane({
    signingSeconds: 3_600,
    apiServerFlags: [
      `--requestheader-client-ca-file=${fileIn('front-proxy-ca.crt')}`,
      '--requestheader-allowed-names=front-proxy-client',
      '--requestheader-username-headers=X-Remote-User',
      '--requestheader-group-headers=X-Remote-Group',
      '--requestheader-extra-headers-prefix=X-Remote-Extra-',
      `--proxy-client-cert-file=${fileIn('front-proxy-client.crt')}`,
      `--proxy-client-key-file=${fileIn('front-proxy-client.key')}`,
    ],
  });
  client = await clientFor(await plane.adminKubeconfig());
  const { port } = new URL(plane.server);
  const flags = [{ name: 'requestheader-allowed-names', value: 'front-proxy-client' }];
  const authorities = { old, next };
  context = await contextWith(
    { apiServer: Number(port) },
    { clock: systemClock, authorities, flags, ca: 'front-proxy' },
  );
  await startExtension();
});

after(async () => {
  if (skip !== false) return;
  for (const child of children) await child.stop();
  await client.close();
  await plane[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

function fileIn(name: string): string {
  return join(directory, 'pki', name);
}

/** On loopback, which an EndpointSlice may not name. */
async function startExtension(): Promise<void> {
  const [port = 0, etcdClient = 0, etcdPeer = 0] = await freePorts(3);
  const admin = join(plane.directory, 'admin.conf');
  run(join(controlPlaneDirectory(), 'etcd'), [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=http://127.0.0.1:${etcdClient}`,
    `--advertise-client-urls=http://127.0.0.1:${etcdClient}`,
    `--listen-peer-urls=http://127.0.0.1:${etcdPeer}`,
    '--unsafe-no-fsync',
  ]);
  run(extensionProgram(), [
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    `--cert-dir=${join(directory, 'extension')}`,
    `--etcd-servers=http://127.0.0.1:${etcdClient}`,
    `--kubeconfig=${admin}`,
    `--authentication-kubeconfig=${admin}`,
    `--authorization-kubeconfig=${admin}`,
  ]);
  await plane.admin.must({
    method: 'POST',
    path: '/api/v1/namespaces/default/services',
    body: {
      metadata: { name: 'sample' },
      spec: { type: 'ExternalName', externalName: 'localhost' },
    },
  });
  await plane.admin.must({
    method: 'POST',
    path: '/apis/apiregistration.k8s.io/v1/apiservices',
    body: {
      metadata: { name },
      spec: {
        group: 'wardle.example.com',
        version: 'v1alpha1',
        service: { namespace: 'default', name: 'sample', port },
        insecureSkipTLSVerify: true,
        groupPriorityMinimum: 1000,
        versionPriority: 15,
      },
    },
  });
}

function run(command: string, args: readonly string[]): void {
  const logFile = join(directory, 'log');
  children.push(new Child({ name: command.split('/').at(-1) ?? '', command, args, logFile }));
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  while (!(await isDone())) await systemClock.sleep(200, signal);
}

/** Whether the extension API server accepts a front proxy by this CA. */
async function isAccepted(side: RolloverSide): Promise<boolean> {
  const [api] = await readAggregatedApis(client, signal);
  const [server] = api?.servers ?? [];
  assert.ok(server !== undefined);
  const { kind } = await probeFrontProxy(context, { ...server, path, side }, signal);
  return kind === 'accepted';
}

/** The node with its current files, and the kube-apiserver of this test. */
async function currentNode(): Promise<RolloverNode> {
  const directories = { kubernetes: directory, certificates: join(directory, 'pki') };
  const node = await readRolloverNode({ ca: 'front-proxy', tree: new Tree('/'), directories });
  assert.ok(node !== undefined);
  return { ...node, components: context.node.components };
}

/** Does the step on this node, with all checks. */
async function runStepHere(step: AnyNodeStepName): Promise<void> {
  const { clock, version } = context;
  const node = await currentNode();
  const aggregation = { access: client.access, apis: [{ name, path }] };
  const own = await planNodeStep(step, { node, clock, version, aggregation });
  const { tasks, lastTasks } = own;
  const cluster = await clusterOf(step, own);
  const { failed } = await runStep([...tasks, ...cluster.tasks, ...lastTasks], {
    tree: node.tree,
    directory: join(directory, 'runs'),
    clock,
    copyAttributes: async () => undefined,
    signal,
    restarts: new Map(),
    version,
    step,
    ca: node.ca,
    plan: {},
  });
  assert.equal(failed, undefined);
}

/** What the step needs from the cluster. */
async function clusterOf(
  step: AnyNodeStepName,
  { latest = 'create' }: Partial<Pick<NodeStep, 'latest'>> = {},
): Promise<StepCluster> {
  const node = await currentNode();
  const { clock, version } = context;
  const { tree, directories, ca } = node;
  const machine = { hostName: 'cp1', addresses: new Set(['127.0.0.1']) };
  const request = { ca, tree, directories, client, clock, version, signal, ...machine };
  const options = {
    keyFiles: [],
    confirmed: {},
    dial: false,
    auditLogs: [],
    onWait: () => undefined,
  };
  return step === 'abort'
    ? frontProxyAbort({ latest, node, request, options })
    : frontProxyCluster({ step, node, request, options });
}

/** Why a step must not begin. */
async function reasonsAgainst(step: NodeStepName): Promise<string[]> {
  const { reasons } = await (await clusterOf(step)).judge([]);
  return reasons.map(({ message }) => message);
}

/** Gets the API through kube-apiserver all the time. @returns the answers, once it is called */
function startRequests(): () => Promise<readonly number[]> {
  const end = new AbortController();
  const statuses: number[] = [];
  const requests = async (): Promise<void> => {
    while (!end.signal.aborted) {
      const { status } = await client.text({ path, signal });
      statuses.push(status);
      await systemClock.sleep(50, signal);
    }
  };
  const ended = requests();
  return async () => {
    end.abort();
    await ended;
    return statuses;
  };
}

describe('a rollover of the CA front-proxy', { skip }, () => {
  let stopRequests: ReturnType<typeof startRequests>;

  it('begins with servers that accept front proxies by the old CA alone', async () => {
    await until(async () => {
      const [api] = await readAggregatedApis(client, signal);
      return api?.unavailable === undefined;
    });
    stopRequests = startRequests();
    await requireFrontProxyTrust(context, ['old'], signal);
    assert.equal(await isAccepted('old'), true);
    assert.equal(await isAccepted('next'), false);
    const [configMap, server, extension, ...others] = await reasonsAgainst('switch');
    assert.match(configMap ?? '', /lacks the new CA in requestheader-client-ca-file/);
    assert.match(server ?? '', /^kube-apiserver on cp1 rejects .* from the new CA$/);
    assert.match(extension ?? '', /^the extension API server localhost:\d+ of .* rejects/);
    assert.deepEqual(others, []);
  });

  it('trusts both CAs, first in kube-apiserver and then in the extension API server', async () => {
    await runStepHere('trust');
    await until(() => isAccepted('next'));
    assert.equal(await isAccepted('old'), true);
    assert.deepEqual(await reasonsAgainst('switch'), []);
  });

  it('returns to the old CA by one step at a time, and trusts both again', async () => {
    await runStepHere('switch');
    await runStepHere('abort');
    const issued = await readFile(fileIn('front-proxy-client.crt'));
    assert.ok(new X509Certificate(issued).verify(createPublicKey(old.pem)));
    assert.equal(await isAccepted('next'), true);
    await runStepHere('abort');
    const removed = { old: next.authority, clients: 'front-proxy', step: 'abort' } as const;
    const objects = { client, clock: systemClock, signal };
    assert.equal((await clientAuthoritiesTask(objects, removed)).isDone, true);
    await until(async () => !(await isAccepted('next')));
    await writePair(fileIn('front-proxy-ca-next.crt'), next);
    await runStepHere('trust');
    await until(() => isAccepted('next'));
  });

  it('answers through kube-apiserver with a certificate from the new CA', async () => {
    await runStepHere('switch');
    const issued = await readFile(fileIn('front-proxy-client.crt'));
    assert.ok(new X509Certificate(issued).verify(createPublicKey(next.pem)));
    assert.deepEqual(await reasonsAgainst('finish'), []);
  });

  it('drops the old CA from the ConfigMap, and from the extension API server', async () => {
    await runStepHere('finish');
    const removed = { old: old.authority, clients: 'front-proxy' } as const;
    const objects = { client, clock: systemClock, signal };
    assert.equal((await clientAuthoritiesTask(objects, removed)).isDone, true);
    await until(async () => !(await isAccepted('old')));
    const answers = await stopRequests();
    assert.ok(answers.length > 10);
    assert.deepEqual(new Set(answers), new Set([200]));
    assert.deepEqual((await readdir(join(directory, 'pki'))).toSorted(), [
      'front-proxy-ca.crt',
      'front-proxy-ca.key',
      'front-proxy-client.crt',
      'front-proxy-client.key',
    ]);
  });
});
