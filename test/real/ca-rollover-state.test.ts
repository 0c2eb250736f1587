import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { hour } from '../../src/core/instant.ts';
import { formatTrustAnnotation, trustAnnotationKey } from '../../src/core/trust-annotation.ts';
import { version } from '../../src/core/version.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { rolloverAuthorities } from '../../src/trust/cluster/authorities.ts';
import type { GateInput, RolloverAuthorities } from '../../src/trust/cluster/gate.ts';
import { judgeDroppable } from '../../src/trust/cluster/gates/droppable.ts';
import { judgeNodes } from '../../src/trust/cluster/gates/nodes.ts';
import { judgePods } from '../../src/trust/cluster/gates/pods.ts';
import { judgePublished } from '../../src/trust/cluster/gates/published.ts';
import { judgeSigner } from '../../src/trust/cluster/gates/signer.ts';
import { leftovers } from '../../src/trust/cluster/leftovers.ts';
import { readClusterState } from '../../src/trust/cluster/read/cluster.ts';
import type { ClusterState, Reading } from '../../src/trust/cluster/state.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import type { Role } from '../support/rbac-rights.ts';
import { rightsOf } from '../support/rbac-rights.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import { lines, report } from '../support/rollover-state.ts';
import { until } from '../support/until.ts';

/** What a real cluster says about a rollover, to an administrator and to a user with the shipped role. */

const skip = skipWithoutRealControlPlane();
const roleFile = fileURLToPath(new URL('../../config/rbac-ca-rollover.yaml', import.meta.url));
const auditor = { user: 'auditor', groups: ['system:authenticated'] };

let rollover: RolloverPlane;
let folder: string;
let role: Role;
before(async () => {
  if (skip !== false) return;
  folder = await mkdtemp(join(tmpdir(), 'nodecertd-rollover-state-'));
  rollover = await RolloverPlane.start();
  role = parse(await readFile(roleFile, 'utf8')) as Role;
  await rollover.plane.kubectl('apply', '--filename', roleFile);
  const { name } = role.metadata;
  await rollover.plane.kubectl(
    'create',
    'clusterrolebinding',
    'auditor',
    `--clusterrole=${name}`,
    '--user=auditor',
  );
  await createObjects();
});
after(async () => {
  if (skip !== false) return;
  await rollover[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function authorityOf({
  certificatePem,
}: {
  readonly certificatePem: string;
}): RolloverAuthorities['old'] {
  const [authority] = readAuthorities(Buffer.from(certificatePem)).authorities;
  assert.ok(authority);
  return authority;
}

async function create(path: string, body: object): Promise<void> {
  await rollover.plane.admin.must({ method: 'POST', path, body });
}

/** A node that is done, one without agent, and objects that hold the old CA. */
async function createObjects(): Promise<void> {
  const [old, next] = [rollover.oldCa, rollover.newCa].map((ca) =>
    authorityOf(ca).fingerprint.slice(0, 16),
  );
  assert.ok(old !== undefined && next !== undefined);
  const annotation = formatTrustAnnotation(
    report({
      places: { kubeconfig: [old, next], clientCa: [old, next] },
      leaf: { 'kubelet-client': old },
      reportedAt: systemClock.now(),
    }),
  );
  await create('/api/v1/nodes', {
    metadata: {
      name: 'node-1',
      labels: { 'node-role.kubernetes.io/control-plane': '' },
      annotations: { [trustAnnotationKey]: annotation },
    },
    status: {
      addresses: [
        { type: 'Hostname', address: 'node-1' },
        { type: 'ExternalIP', address: '192.0.2.1' },
        { type: 'InternalIP', address: 'fd00::1' },
      ],
      conditions: [{ type: 'Ready', status: 'True' }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10_260 } },
    },
    spec: { unschedulable: true },
  });
  await rollover.plane.setNodeAddresses('node-2', [{ type: 'InternalIP', address: '10.0.0.2' }]);
  await rollover.discovery.createSignedToken();
  await requestPair();
  await create('/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  await createHolders(Buffer.from(rollover.oldCa.certificatePem).toString('base64'));
  await createPod();
}

async function requestPair(): Promise<void> {
  const groups = ['system:nodes', 'system:authenticated'];
  await using requestor = rollover.plane.clientAs('system:node:node-1', groups);
  await rollover.requestNodePair(requestor, 'node-1');
}

async function createHolders(caBundle: string): Promise<void> {
  const clientConfig = { caBundle, url: 'https://127.0.0.1:9/' };
  const webhook = {
    name: 'pods.example.com',
    clientConfig,
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
    failurePolicy: 'Ignore',
  };
  const admission = '/apis/admissionregistration.k8s.io/v1';
  const body = { metadata: { name: 'example' }, webhooks: [webhook] };
  await create(`${admission}/validatingwebhookconfigurations`, body);
  await create(`${admission}/mutatingwebhookconfigurations`, body);
  await create('/apis/apiregistration.k8s.io/v1/apiservices', {
    metadata: { name: 'v1.metrics.example.com' },
    spec: {
      group: 'metrics.example.com',
      version: 'v1',
      groupPriorityMinimum: 1_000,
      versionPriority: 1,
      service: { namespace: 'default', name: 'metrics' },
      caBundle,
    },
  });
  await create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
    metadata: { name: 'things.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Cluster',
      names: { plural: 'things', kind: 'Thing' },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object' } },
        },
      ],
      conversion: {
        strategy: 'Webhook',
        webhook: { clientConfig, conversionReviewVersions: ['v1'] },
      },
    },
  });
  await create('/api/v1/namespaces/default/secrets', {
    metadata: { name: 'robot', annotations: { 'kubernetes.io/service-account.name': 'default' } },
    type: 'kubernetes.io/service-account-token',
    data: { 'ca.crt': caBundle },
  });
}

/** A pod that has been running for an hour, with the volume that every pod gets. */
async function createPod(): Promise<void> {
  const pods = '/api/v1/namespaces/default/pods';
  await create(pods, {
    metadata: { name: 'web-1' },
    spec: { nodeName: 'node-1', containers: [{ name: 'web', image: 'web' }] },
  });
  const startedAt = new Date(systemClock.now() - hour).toISOString().replace(/\.\d+/, '');
  const status = {
    phase: 'Running',
    containerStatuses: [
      {
        name: 'web',
        image: 'web',
        imageID: '',
        ready: true,
        restartCount: 0,
        state: { running: { startedAt } },
      },
    ],
  };
  await rollover.plane.admin.must({
    method: 'PATCH',
    path: `${pods}/web-1/status`,
    body: { status },
  });
}

/** @param impersonated the administrator if absent */
async function read(impersonated?: typeof auditor): Promise<ClusterState> {
  const path = join(folder, 'admin.conf');
  await writeFile(path, await rollover.plane.adminKubeconfig());
  const access = await loadKubeconfig(path);
  if (impersonated !== undefined) {
    const impersonation = { ...impersonated, uid: '', extra: {} };
    Object.assign(access, { credential: { ...access.credential, impersonation } });
  }
  await using client = await KubeClient.open({ access, version, clock: systemClock });
  const signal = AbortSignal.timeout(60_000);
  return await readClusterState(
    { client, signal },
    { readAt: systemClock.now(), withPods: true, withKubeletPorts: true },
  );
}

function inputOf(state: ClusterState): GateInput {
  const { oldCa, newCa } = rollover;
  return { state, authorities: { old: authorityOf(oldCa), next: authorityOf(newCa) } };
}

describe('readClusterState()', { skip }, () => {
  it('finds one CA before the rollover', async () => {
    const state = await read();
    assert.deepEqual(rolloverAuthorities(state), { old: authorityOf(rollover.oldCa) });
    const input = inputOf(state);
    assert.match(
      lines(judgePublished(input).reasons).join('\n'),
      /^waiting ClusterTrustBundle \S+ lacks the new CA\nwaiting kube-root-ca.crt lacks the new CA in 4 namespaces of 4 \[.*\]\nwaiting kube-public\/cluster-info lacks the new CA$/,
    );
    assert.deepEqual(lines(judgePods(input).reasons), [
      'waiting 1 running pod started before kube-root-ca.crt of the namespace had the new CA [default/Pod/web-1]',
    ]);
  });

  it('reads the address, the port and the readiness of each node', async () => {
    const { nodes } = await read();
    assert.ok(nodes.outcome === 'read');
    assert.deepEqual(
      nodes.value.map(({ report: found, ...node }) => ({
        ...node,
        hasReport: found !== undefined,
      })),
      [
        {
          name: 'node-1',
          isControlPlane: true,
          addresses: ['fd00::1', '192.0.2.1'],
          isReady: true,
          kubeletPort: 10_260,
          hasReport: true,
        },
        {
          name: 'node-2',
          isControlPlane: false,
          addresses: ['10.0.0.2'],
          isReady: false,
          kubeletPort: 10_250,
          hasReport: false,
        },
      ],
    );
  });

  it('finds both CAs, and what is behind, once both are published', async () => {
    const { oldCa, newCa } = rollover;
    await rollover.acceptClientsOf(oldCa, newCa);
    await rollover.publish(oldCa, newCa);
    await rollover.announce(oldCa, newCa);
    const state = await read();
    assert.deepEqual(rolloverAuthorities(state), inputOf(state).authorities);
    const input = inputOf(state);
    assert.deepEqual(lines(judgePublished(input).reasons), []);
    assert.deepEqual(lines(judgeNodes(input).reasons), [
      'waiting 1 node of 2: not Ready, and the Node has no annotation nodecertd.io/trust [node-2]',
    ]);
    assert.deepEqual(lines(judgePods(input).reasons), [
      'waiting 1 running pod started before kube-root-ca.crt of the namespace had the new CA [default/Pod/web-1]',
    ]);
    assert.match(
      lines(judgeSigner(input).reasons).join('\n'),
      /^waiting the newest certificate of kubernetes.io\/kube-apiserver-client-kubelet is by the old CA: CSR node-csr-1, \d+s ago$/,
    );
    const { reasons } = judgeDroppable({ ...input, confirmed: { clients: true } }, []);
    assert.deepEqual(
      reasons.flatMap(({ objects = [] }) => objects),
      [
        'ValidatingWebhookConfiguration/example/pods.example.com',
        'MutatingWebhookConfiguration/example/pods.example.com',
        'APIService/v1.metrics.example.com',
        'CustomResourceDefinition/things.example.com',
        'Secret/default/robot',
      ],
    );
  });

  it('finds the certificate of a switched signer', async () => {
    await rollover.signWith(rollover.newCa);
    // The times of CSRs have whole seconds, and the old CA may have signed in this one.
    await until('a newest certificate by the new CA', async () => {
      await requestPair();
      const state = await read();
      return judgeSigner(inputOf(state)).state === 'open';
    });
  });

  it('finds the one namespace of many that is behind', async () => {
    const { plane } = rollover;
    const names = Array.from({ length: 200 }, (_, index) => `team-${index}`);
    await Promise.all(names.map((name) => create('/api/v1/namespaces', { metadata: { name } })));
    await until('kube-root-ca.crt everywhere', async () => {
      const { rootCas } = await read();
      return rootCas.outcome === 'read' && rootCas.value.size === 204;
    });
    await plane.stopControllers();
    await plane.admin.must({
      method: 'PATCH',
      path: '/api/v1/namespaces/team-77/configmaps/kube-root-ca.crt',
      body: { data: { 'ca.crt': rollover.oldCa.certificatePem } },
    });
    const state = await read();
    assert.deepEqual(lines(judgePublished(inputOf(state)).reasons), [
      'waiting kube-root-ca.crt lacks the new CA in 1 namespace of 204 [team-77]',
    ]);
    await plane.startControllers();
  });

  it('finds a signature of cluster-info for another content', async () => {
    const { plane, discovery } = rollover;
    await plane.stopControllers();
    const token = await discovery.createToken();
    const state = await read();
    assert.deepEqual(
      lines(judgePublished(inputOf(state)).reasons).at(-1),
      `waiting kube-public/cluster-info is not signed for 1 bootstrap token [${token.slice(0, 6)}]`,
    );
    await plane.startControllers();
    await discovery.untilSigned(token);
  });
});

function isForbidden(found: number | Reading<unknown>): boolean {
  return typeof found === 'object' && found.outcome === 'forbidden';
}

/** The readings that the credential may not have. */
function unseenIn({ holders, ...state }: ClusterState): string[] {
  const { clusterInfo } = state;
  const knowsSignatures =
    clusterInfo.outcome !== 'read' || clusterInfo.value.unsignedTokens !== undefined;
  const readings = [...Object.entries(state), ...Object.entries(holders)];
  return [
    ...readings.filter(([, found]) => isForbidden(found)).map(([name]) => name),
    ...(knowsSignatures ? [] : ['signatures of cluster-info']),
  ];
}

describe('the ClusterRole nodecertd:ca-rollover', { skip }, () => {
  /** What a user with the role does not see without one of its rights. */
  const hidden: Readonly<Record<string, readonly string[]>> = {
    'list nodes': ['nodes'],
    'list namespaces': ['namespaces'],
    'list configmaps kube-root-ca.crt': ['rootCas'],
    'get configmaps cluster-info': ['clusterInfo'],
    'get configmaps extension-apiserver-authentication': ['extensionAuthentication'],
    'list clustertrustbundles': ['trustBundles'],
    'list pods': ['pods'],
    'list certificatesigningrequests': ['signers'],
    'list validatingwebhookconfigurations': ['ValidatingWebhookConfiguration'],
    'list mutatingwebhookconfigurations': ['MutatingWebhookConfiguration'],
    'list apiservices': ['APIService'],
    'list customresourcedefinitions': ['CustomResourceDefinition'],
    'list secrets': ['Secret', 'signatures of cluster-info'],
    'get endpointslices kubernetes': [],
  };

  it('shows everything', async () => {
    assert.deepEqual(unseenIn(await read(auditor)), []);
  });

  it('has no right that shows nothing', async () => {
    const user = { admin: rollover.plane.admin, ...auditor };
    const rights = rightsOf(user, role);
    const found: Record<string, readonly string[]> = {};
    for (const { name, objects, take, give } of rights) {
      await take();
      found[[name, ...objects].join(' ')] = unseenIn(await read(auditor));
      await give();
    }
    assert.deepEqual(found, hidden);
  });
});

describe('leftovers()', { skip }, () => {
  it('names the old CA that stays for extension servers after the last step', async () => {
    const { oldCa, newCa } = rollover;
    await rollover.identifyAdmin(newCa, oldCa, newCa);
    await rollover.identifyControllers(newCa, oldCa, newCa);
    await rollover.acceptClientsOf(newCa);
    await rollover.publish(newCa);
    await rollover.announce(newCa);
    const state = await until('namespaces without the old CA', async () => {
      const found = await read();
      return leftovers(inputOf(found)).length > 0 && found;
    });
    assert.deepEqual(rolloverAuthorities(state), inputOf(state).authorities);
    assert.deepEqual(lines(leftovers(inputOf(state))), [
      'waiting kube-system/extension-apiserver-authentication still has the old CA',
    ]);
    await rollover.plane.kubectl(
      '--namespace',
      'kube-system',
      'delete',
      'configmap',
      'extension-apiserver-authentication',
    );
    await until('the ConfigMap without the old CA', async () => {
      const again = await read();
      return (
        again.extensionAuthentication.outcome === 'read' && leftovers(inputOf(again)).length === 0
      );
    });
  });
});
