import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { version } from '../../src/core/version.ts';
import { loadKubeconfig } from '../../src/kube/kubeconfig.ts';
import { KubeClient } from '../../src/kube/rest-client.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { rolloverAuthorities } from '../../src/trust/cluster/authorities.ts';
import type { Gate, GateInput, RolloverAuthorities } from '../../src/trust/cluster/gate.ts';
import { judgeDroppable } from '../../src/trust/cluster/gates/droppable.ts';
import { judgeNodes } from '../../src/trust/cluster/gates/nodes.ts';
import { judgePods } from '../../src/trust/cluster/gates/pods.ts';
import { judgePublished } from '../../src/trust/cluster/gates/published.ts';
import { judgeSigner } from '../../src/trust/cluster/gates/signer.ts';
import { leftovers } from '../../src/trust/cluster/leftovers.ts';
import { readClusterState } from '../../src/trust/cluster/read/cluster.ts';
import type { ClusterState, Reading } from '../../src/trust/cluster/state.ts';
import { readAuthorities } from '../../src/kube/authorities.ts';
import { runWithClock } from '../cli/in-process.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import type { Role } from '../support/rbac-rights.ts';
import { rightsOf } from '../support/rbac-rights.ts';
import { RolloverPlane } from '../support/rollover-plane.ts';
import { RolloverObjects } from '../support/rollover-objects.ts';
import { lines } from '../support/rollover-state.ts';
import { until } from '../support/until.ts';

/** What a real cluster says about a rollover, to an administrator and to a user with the shipped role. */

const skip = skipWithoutRealControlPlane();
const roleFile = fileURLToPath(new URL('../../config/rbac-ca-rollover.yaml', import.meta.url));

let rollover: RolloverPlane;
let objects: RolloverObjects;
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
  objects = new RolloverObjects(rollover);
  await objects.createNodes();
  await objects.createHolders();
  await objects.createPod();
  await rollover.discovery.createSignedToken();
  await requestPair();
  await writeFile(join(folder, 'ca.key'), rollover.oldCa.keyPem, { mode: 0o600 });
  await writeFile(join(folder, 'ca-next.key'), rollover.newCa.keyPem, { mode: 0o600 });
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

async function requestPair(): Promise<void> {
  const groups = ['system:nodes', 'system:authenticated'];
  await using requestor = rollover.plane.clientAs('system:node:node-1', groups);
  await rollover.requestNodePair(requestor, 'node-1');
}

/** @param user the administrator if absent */
async function kubeconfigOf(user?: string): Promise<string> {
  const path = join(folder, `${user ?? 'admin'}.conf`);
  const document = parse(await rollover.plane.adminKubeconfig()) as Kubeconfig;
  for (const entry of document.users) if (user !== undefined) entry.user['as'] = user;
  await writeFile(path, stringify(document), { mode: 0o600 });
  return path;
}

interface Kubeconfig {
  readonly users: readonly { readonly user: Record<string, unknown> }[];
}

async function read(user?: string): Promise<ClusterState> {
  using access = await loadKubeconfig(await kubeconfigOf(user));
  await using client = await KubeClient.open({ access, version, clock: systemClock });
  const signal = AbortSignal.timeout(60_000);
  return await readClusterState(
    { client, signal },
    { readAt: systemClock.now(), withPods: true, withKubeletPorts: true },
  );
}

interface Document {
  readonly gates: readonly Gate[];
}

/** Runs `nodecertd ca-rollover`, with the keys of both CAs. */
async function caRollover(
  user: string | undefined,
  ...args: readonly string[]
): Promise<Document & { readonly code: number }> {
  const kubeconfig = await kubeconfigOf(user);
  const places = ['--kubeconfig', kubeconfig, '--kubernetes-dir', folder, '--cert-dir', folder];
  const flags = [...places, '--no-dial', '--output', 'json'];
  const { code, stdout, stderr } = await runWithClock(
    systemClock,
    'ca-rollover',
    ...args,
    ...flags,
  );
  assert.notEqual(stdout, '', stderr);
  return { ...(JSON.parse(stdout) as Document), code };
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
          addresses: ['fd00::1', '192.0.2.1'],
          isReady: true,
          kubeletPort: 10_260,
          isControlPlane: false,
          hasReport: true,
        },
        ...['node-2', 'node-3', 'node-4'].map((name) => ({
          name,
          addresses: ['10.0.0.2'],
          isReady: name !== 'node-3',
          kubeletPort: 10_250,
          isControlPlane: false,
          hasReport: name !== 'node-2',
        })),
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
      'waiting 1 node of 4: the Node has no annotation nodecertd.io/trust [node-2]',
      'waiting 1 node of 4: not Ready, and the kubeconfig of the kubelet lacks the new CA [node-3]',
      'waiting 1 node of 4: the annotation nodecertd.io/trust is older than 1d 1h [node-4]',
    ]);
    assert.deepEqual(lines(judgePods(input).reasons), [
      'waiting 1 running pod started before kube-root-ca.crt of the namespace had the new CA [default/Pod/web-1]',
    ]);
    assert.match(
      lines(judgeSigner(input).reasons).join('\n'),
      /^waiting the newest certificate of kubernetes.io\/kube-apiserver-client-kubelet was issued by the old CA: CSR node-csr-1, \d+s ago$/,
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

  it('opens the gates of the switch for `ca-rollover wait` once the nodes behind are excepted', async () => {
    const wait = ['wait', '--for', 'union', '--timeout', '1s', '--pods-ok'];
    const { code, gates } = await caRollover(undefined, ...wait);
    assert.equal(code, 3);
    const behind = gates.find(({ id }) => id === 'G3')?.reasons ?? [];
    assert.deepEqual(
      behind.map(({ objects: names }) => names),
      [['node-2'], ['node-3'], ['node-4']],
    );
    const excepted = ['--except', 'node-2', 'node-3', 'node-4'];
    assert.equal((await caRollover(undefined, ...wait, ...excepted)).code, 0);
  });

  it('sees the files of another control-plane node by its report', async () => {
    const { oldCa, newCa, plane } = rollover;
    const excepted = ['--except', 'node-1', 'node-2', 'node-3', 'node-4'];
    const reasons = async (...args: readonly string[]): Promise<string[]> => {
      const { gates } = await caRollover(undefined, 'status', '--pods-ok', ...excepted, ...args);
      return gates.flatMap(({ id, reasons: found }) =>
        lines(found)
          .filter((line) => line.includes('cp2') && !line.includes('kube-apiserver on cp2'))
          .map((line) => `${id} ${line}`),
      );
    };
    await objects.createControlPlane('cp2');
    const hidden =
      'unknown 1 of 1 other control-plane node: the Node has no annotation nodecertd.io/control-plane-trust [cp2]';
    const report = '1 node of 5: the Node has no annotation nodecertd.io/trust [cp2]';
    assert.deepEqual(await reasons(), [
      `G1 ${hidden}`,
      `G3 waiting ${report}`,
      `G5 ${hidden}`,
      `G7 waiting ${report}`,
      `G7 ${hidden}`,
    ]);
    assert.deepEqual(await reasons('cp2'), []);
    await objects.reportControlPlane('cp2', { signer: oldCa, leaf: newCa });
    const behind = (await reasons()).filter((line) => !line.includes(report));
    assert.deepEqual(behind, [
      'G5 waiting the file of kube-controller-manager --cluster-signing-cert-file on cp2 has the old CA',
    ]);
    await objects.reportControlPlane('cp2', { signer: newCa, leaf: oldCa });
    assert.deepEqual(
      (await reasons()).filter((line) => !line.includes(report)),
      ['G7 waiting certificates issued by the old CA are in use [controller-manager.conf on cp2]'],
    );
    await plane.admin.must({ method: 'DELETE', path: '/api/v1/nodes/cp2' });
  });

  it('finds the certificate of a switched signer', async () => {
    await rollover.signWith(rollover.newCa);
    // The times of CSRs have whole seconds, and the old CA may have signed in this one.
    await until('a newest certificate issued by the new CA', async () => {
      await requestPair();
      const state = await read();
      return judgeSigner(inputOf(state)).state === 'open';
    });
  });

  it('finds the one namespace of many that is behind', async () => {
    const { plane } = rollover;
    const names = Array.from({ length: 200 }, (_, index) => `team-${index}`);
    await Promise.all(
      names.map((name) => objects.create('/api/v1/namespaces', { metadata: { name } })),
    );
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

async function unknownReasons(): Promise<string[]> {
  const { code, gates } = await caRollover('auditor', 'status');
  assert.equal(code, 3);
  return gates
    .flatMap(({ reasons }) => reasons)
    .filter(({ state }) => state === 'unknown')
    .map(({ message }) => message);
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
    assert.deepEqual(unseenIn(await read('auditor')), []);
  });

  it('has no right that shows nothing, and the command names what is hidden', async () => {
    const said = await unknownReasons();
    const user = {
      admin: rollover.plane.admin,
      user: 'auditor',
      groups: ['system:authenticated'],
    };
    const rights = rightsOf(user, role);
    const found: Record<string, readonly string[]> = {};
    for (const { name, objects: names, take, give } of rights) {
      await take();
      const right = [name, ...names].join(' ');
      found[right] = unseenIn(await read('auditor'));
      const reasons = (await unknownReasons()).filter((reason) => !said.includes(reason));
      assert.match(reasons.join('\n'), /^cannot (?:see|verify) .*/, right);
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
