import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { chartDirectory } from '../../scripts/chart.ts';
import { parseApproverPolicy } from '../../src/config/approver-policy.ts';
import { parseNodeInventory } from '../../src/config/node-inventory.ts';
import { formatCidr } from '../../src/core/cidr.ts';
import {
  helm,
  manifestsFile,
  objectsOf,
  renderChart,
  renderManifests,
  skipWithoutHelm,
} from '../support/helm.ts';
import type { KubernetesObject } from '../support/helm.ts';
import { grantsOf } from '../support/rbac-grants.ts';
import {
  skipWithoutRealControlPlane,
  startRealControlPlane,
} from '../support/real-control-plane.ts';
import type { RealControlPlane } from '../support/real-control-plane.ts';

/** Values for every option. */
const everyOption = {
  policy: {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'ApproverPolicy',
    mode: 'observe',
    mismatchGrace: '30s',
    allowedCIDRs: ['10.100.0.0/16', 'fd00:100::/64'],
    deniedCIDRs: ['10.100.9.0/24'],
    allowedDomains: ['nodes.example.com'],
    protectedNames: ['api.example.com'],
    serviceCIDRs: ['10.96.0.0/12'],
    podCIDRs: ['10.244.0.0/16'],
    match: 'exact',
    maxExpirationSeconds: 31_708_801,
    foreignRequestors: 'deny',
    allowLinkLocal: true,
    maxDecisionsPerSecond: 50,
    sources: {
      inventory: { file: 'inventory.yaml' },
      machine: { kubeconfig: 'management.conf' },
    },
  },
  inventory: {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'NodeInventory',
    nodes: [{ name: 'worker-1', names: ['worker-1'], addresses: ['10.100.0.2', 'fd00:100::2'] }],
  },
  managementKubeconfig: { secretName: 'management-kubeconfig', key: 'value' },
  replicaCount: 3,
  image: { repository: 'registry.example.com/nodecertd', tag: 'v1', pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'registry' }],
  fullnameOverride: 'approver',
  nameOverride: 'approver-name',
  serviceAccount: { create: true, name: 'approver-account', annotations: { team: 'platform' } },
  log: { level: 'debug', format: 'text' },
  metrics: { host: '::', port: 19_472 },
  hostNetwork: true,
  env: [{ name: 'KUBERNETES_SERVICE_HOST', value: '10.0.0.1' }],
  podAntiAffinity: 'preferred',
  podAnnotations: { note: 'true' },
  podLabels: { team: 'platform' },
  networkPolicy: {
    enabled: true,
    apiServer: { ports: [443], cidrs: ['10.0.0.0/24', 'fd00::/64'] },
    metricsFrom: [{ namespaceSelector: {} }],
    extraEgress: [{ ports: [{ port: 8443, protocol: 'TCP' }] }],
  },
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' }, interval: '15s' },
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
};

/** Arguments of helm, and the start of the line with the key in its error. */
const badValues: readonly (readonly [args: readonly string[], key: RegExp])[] = [
  [['--set', 'replicas=3'], /'replicas'/],
  [['--set', 'replicaCount=two'], /\/replicaCount'/],
  [['--set', 'image.pullPolicy=Sometimes'], /\/image\/pullPolicy'/],
  [['--set', 'metrics.port=70000'], /\/metrics\/port'/],
  [['--set', 'podAntiAffinity=always'], /\/podAntiAffinity'/],
  [['--set', 'policy.modes=observe'], /\/policy': .*'modes'/],
  [['--set', 'policy.mode=watch'], /\/policy\/mode'/],
  [['--set', 'policy.sources.inventory.path=x'], /\/policy\/sources\/inventory'/],
  [['--set', 'inventory.kind=NodeInventory'], /\/inventory': missing/],
  [['--set', 'networkPolicy.apiServer.cidrs={10.0.0.1}'], /\/networkPolicy\/apiServer\/cidrs\/0'/],
  [
    ['--set', 'policy.sources.inventory.file=inventory.yaml'],
    /policy\.sources\.inventory\.file is inventory\.yaml, but inventory is empty/,
  ],
  [
    ['--set', 'policy.sources.machine.kubeconfig=management.conf'],
    /policy\.sources\.machine\.kubeconfig .*managementKubeconfig\.secretName is empty/,
  ],
  [['--set', 'managementKubeconfig.secretName=x'], /policy\.sources\.machine\.kubeconfig is not/],
];

describe('the chart of the approver', { skip: skipWithoutHelm() }, () => {
  let folder = '';
  let everything = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nodecertd-chart-'));
    everything = join(folder, 'values.yaml');
    await writeFile(everything, stringify(everyOption));
  });
  after(() => rm(folder, { recursive: true }));

  it('passes helm lint with default values and with every option', async () => {
    for (const args of [[], ['--values', everything]]) {
      assert.match(await helm('lint', '--strict', chartDirectory, ...args), / 0 chart\(s\) failed/);
    }
  });

  it('has each of its values in the schema and in the test of every option', async () => {
    const { properties } = JSON.parse(
      await readFile(join(chartDirectory, 'values.schema.json'), 'utf8'),
    ) as { readonly properties: object };
    const [values = {}] = objectsOf(await readFile(join(chartDirectory, 'values.yaml'), 'utf8'));
    assert.deepEqual(
      Object.keys(properties)
        .filter((key) => key !== 'global')
        .sort(),
      Object.keys(values).sort(),
    );
    const standard = ['rbac', 'resources', 'priorityClassName', 'nodeSelector', 'tolerations'];
    const others = [...standard, 'affinity', 'podDisruptionBudget'];
    assert.deepEqual([...Object.keys(everyOption), ...others].sort(), Object.keys(values).sort());
  });

  for (const [args, key] of badValues) {
    it(`refuses ${args.join(' ')}, and names the key`, async () => {
      await assert.rejects(renderChart('kube-system', ...args), key);
    });
  }

  it('is what manifests.yaml contains', async () => {
    assert.equal(await readFile(manifestsFile, 'utf8'), await renderManifests(), 'run: make chart');
  });

  it('grants the permissions of rbac.yaml, and nothing else', async () => {
    const shipped = await readFile(join(chartDirectory, '../rbac.yaml'), 'utf8');
    const grants = grantsOf(objectsOf(shipped));
    assert.ok(grants.length > 8, `${grants.length} grants`);
    assert.deepEqual(grantsOf(objectsOf(await renderChart('kube-system'))), grants);
  });

  it('adds the Machines of the same cluster only if the policy reads them', async () => {
    const plain = grantsOf(objectsOf(await renderChart('kube-system')));
    const local = ['--set-json', 'policy.sources={"machine":{}}'];
    const grants = grantsOf(objectsOf(await renderChart('kube-system', ...local)));
    const shipped = await readFile(join(chartDirectory, '../rbac-machines.yaml'), 'utf8');
    assert.deepEqual(grants, [...plain, ...grantsOf(objectsOf(shipped))].sort());
    const remote = await renderChart('kube-system', '--values', everything);
    assert.ok(!remote.includes('cluster.x-k8s.io'));
  });

  it('puts the policy and the inventory into ConfigMaps as they are', async () => {
    const objects = objectsOf(await renderChart('kube-system', '--values', everything));
    const policy = parseApproverPolicy(
      dataOf(objects, 'policy.yaml'),
      '/etc/nodecertd/policy.yaml',
    );
    const expected = parseApproverPolicy(
      stringify(everyOption.policy),
      '/etc/nodecertd/policy.yaml',
    );
    assert.deepEqual(policy, expected);
    assert.equal(policy.maxExpirationSeconds, 31_708_801);
    assert.deepEqual(policy.allowedCidrs?.map(formatCidr), everyOption.policy.allowedCIDRs);
    const inventory = parseNodeInventory(dataOf(objects, 'inventory.yaml'), 'inventory.yaml');
    assert.deepEqual([...inventory.nodes.keys()], ['worker-1']);
    const defaults = objectsOf(await renderChart('kube-system', '--set', 'policy.mode=observe'));
    assert.equal(parseApproverPolicy(dataOf(defaults, 'policy.yaml'), 'p').mode, 'observe');
  });

  it('scrapes the Service of the replicas as the job that the alerts name', async () => {
    const objects = objectsOf(await renderChart('kube-system', '--values', everything));
    const { spec } = find(objects, 'ServiceMonitor') as ServiceMonitor;
    const service = find(objects, 'Service') as Service;
    for (const [label, value] of Object.entries(spec.selector.matchLabels)) {
      assert.equal(service.metadata.labels[label], value);
    }
    const job = [{ targetLabel: 'job', replacement: 'nodecertd-approver' }];
    assert.deepEqual(
      spec.endpoints,
      service.spec.ports.map(({ name: port }) => {
        return { port, path: '/metrics', interval: '15s', relabelings: job };
      }),
    );
    assert.match(JSON.stringify(find(objects, 'PrometheusRule')), /job=\\"nodecertd-approver\\"/);
  });

  it('has the alerts of prometheus-rules.yaml for the approver', async () => {
    const objects = objectsOf(await renderChart('kube-system', '--values', everything));
    const { spec } = find(objects, 'PrometheusRule') as PrometheusRule;
    const rules = await readFile(join(chartDirectory, '../../prometheus-rules.yaml'), 'utf8');
    const { groups } = parse(rules) as PrometheusRule['spec'];
    const expected = groups.filter(({ name }) => name === 'nodecertd-approver');
    assert.equal(expected.length, 1);
    assert.deepEqual(spec, { groups: expected });
  });

  describe('on an API server', { skip: skipWithoutRealControlPlane() }, () => {
    let plane: RealControlPlane;
    before(async () => {
      plane = await startRealControlPlane({ signingSeconds: 3_600 });
      await plane.kubectl('create', 'namespace', 'restricted');
      const restricted = 'pod-security.kubernetes.io/enforce=restricted';
      await plane.kubectl('label', 'namespace', 'restricted', restricted);
    });
    after(() => plane[Symbol.asyncDispose]());

    async function dryRun(objects: readonly object[]): Promise<string> {
      const file = join(folder, 'objects.json');
      await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
      const flags = ['--dry-run=server', '--validate=strict', '--output=name'];
      return plane.kubectl('create', ...flags, '-f', file);
    }

    for (const [what, args] of [
      ['default values', () => []],
      ['every option', () => ['--values', everything]],
    ] as const) {
      it(`is accepted by the API server with ${what}`, async () => {
        const objects = objectsOf(await renderChart('restricted', ...args())).filter(
          ({ apiVersion }) => apiVersion !== 'monitoring.coreos.com/v1',
        );
        const accepted = (await dryRun(objects)).trim().split('\n');
        assert.equal(accepted.length, objects.length);
      });
    }

    it('has Pods that meet the Pod Security Standard restricted', async () => {
      await plane.kubectl('create', 'serviceaccount', 'nodecertd-approver', '-n', 'restricted');
      const objects = objectsOf(await renderChart('restricted'));
      const { spec } = find(objects, 'Deployment') as unknown as {
        readonly spec: { readonly template: { readonly metadata: object; readonly spec: object } };
      };
      const { template } = spec;
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { ...template.metadata, name: 'approver', namespace: 'restricted' },
        spec: template.spec,
      };
      assert.equal(await dryRun([pod]), 'pod/approver\n');
      await assert.rejects(
        dryRun([{ ...pod, spec: { ...pod.spec, hostNetwork: true } }]),
        /restricted/,
      );
    });
  });
});

interface ServiceMonitor extends KubernetesObject {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly endpoints: readonly object[];
  };
}

interface Service extends KubernetesObject {
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly ports: readonly { readonly name: string }[] };
}

interface PrometheusRule extends KubernetesObject {
  readonly spec: { readonly groups: readonly { readonly name: string }[] };
}

function find(objects: readonly KubernetesObject[], kind: string): KubernetesObject {
  const found = objects.find((object) => object.kind === kind);
  assert.ok(found, kind);
  return found;
}

/** A key of one of the ConfigMaps. */
function dataOf(objects: readonly KubernetesObject[], key: string): string {
  const texts = objects.flatMap((object) => {
    const { data } = object as { readonly data?: Readonly<Record<string, string>> };
    return object.kind === 'ConfigMap' && data?.[key] !== undefined ? [data[key]] : [];
  });
  assert.equal(texts.length, 1);
  return texts[0] ?? '';
}
