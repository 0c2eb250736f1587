import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  componentArguments,
  withArguments,
} from '../../../src/trust/control-plane/component-arguments.ts';

/** As kubeadm 1.37 writes it into kube-system/kubeadm-config. */
const usual = `apiServer:
  extraArgs:
  - name: audit-log-path
    value: /var/log/kubernetes/audit.log
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controllerManager: {}
dns:
  disabled: true
encryptionAlgorithm: RSA-2048
etcd:
  local:
    dataDir: /var/lib/etcd
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.37.2
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
proxy: {}
scheduler: {}
`;

const root = 'root-ca-file';
const signing = 'cluster-signing-cert-file';
const set = new Map([
  [signing, '/pki/ca-signing.crt'],
  [root, '/pki/ca-bundle.crt'],
]);
const removed = new Map([
  [signing, undefined],
  [root, undefined],
]);

const v1beta4 = `controllerManager:
  extraArgs:
  - name: cluster-signing-cert-file
    value: /pki/ca-signing.crt
  - name: root-ca-file
    value: /pki/ca-bundle.crt
`;
const v1beta3 = `controllerManager:
  extraArgs:
    cluster-signing-cert-file: /pki/ca-signing.crt
    root-ca-file: /pki/ca-bundle.crt
`;

describe('withArguments()', () => {
  for (const [version, lines] of [
    ['v1beta4', v1beta4],
    ['v1beta3', v1beta3],
  ] as const) {
    const before = usual.replace('v1beta4', version).replace(/^apiServer[^]*?(?=apiV)/, '');
    const after = before.replace('controllerManager: {}\n', lines);

    it(`adds flags in ${version}, and changes no other line`, () => {
      assert.equal(withArguments(before, 'controllerManager', set), after);
      assert.deepEqual(componentArguments(after, 'controllerManager'), set);
    });

    it(`returns to the earlier text of ${version}`, () => {
      assert.equal(withArguments(after, 'controllerManager', removed), before);
    });
  }

  it('adds flags to another component alone', () => {
    const changed = withArguments(
      usual,
      'apiServer',
      new Map([['client-ca-file', '/pki/both.crt']]),
    );
    const audit = '    value: /var/log/kubernetes/audit.log\n';
    const added = '  - name: client-ca-file\n    value: /pki/both.crt\n';
    assert.equal(changed, usual.replace(audit, audit + added));
  });

  it('keeps the other flags and settings of the component', () => {
    const own = `controllerManager:
  extraArgs:
  - name: bind-address
    value: 0.0.0.0
  - name: feature-gates
    value: A=true
  - name: feature-gates
    value: B=true
  extraVolumes:
  - hostPath: /etc/ca
    mountPath: /etc/ca
    name: ca
`;
    const before = usual.replace('controllerManager: {}\n', own);
    const after = withArguments(before, 'controllerManager', set);
    assert.equal(componentArguments(after, 'controllerManager').get('bind-address'), '0.0.0.0');
    assert.equal(after.match(/name: feature-gates/g)?.length, 2);
    assert.equal(withArguments(after, 'controllerManager', removed), before);
  });

  it('replaces every occurrence of a flag', () => {
    const own = `controllerManager:
  extraArgs:
  - name: root-ca-file
    value: /pki/ca.crt
  - name: root-ca-file
    value: /pki/other.crt
`;
    const before = usual.replace('controllerManager: {}\n', own);
    const after = usual.replace('controllerManager: {}\n', v1beta4);
    assert.equal(withArguments(before, 'controllerManager', set), after);
  });

  it('adds a missing controllerManager', () => {
    const before = usual.replace('controllerManager: {}\n', '');
    const after = withArguments(before, 'controllerManager', set);
    assert.equal(after, `${before}${v1beta4}`);
    assert.deepEqual(
      componentArguments(withArguments(after, 'controllerManager', removed), 'controllerManager'),
      new Map(),
    );
  });

  for (const [what, text] of [
    ['another kind of object', 'apiVersion: v1\nkind: ConfigMap\n'],
    [
      'flags that are no texts',
      usual.replace('controllerManager: {}', 'controllerManager: {extraArgs: [1]}'),
    ],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => withArguments(text, 'controllerManager', set), {
        code: 'API_BAD_RESPONSE',
        message: /^ClusterConfiguration in kube-system\/kubeadm-config has no/,
      });
    });
  }
});
