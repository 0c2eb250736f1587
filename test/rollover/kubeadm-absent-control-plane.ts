import assert from 'node:assert/strict';
import type { KubeadmCluster } from '../support/kubeadm-cluster.ts';
import type { KubeadmNode } from '../support/kubeadm-node.ts';
import { AppliedRollover, requireRefused } from './applied-rollover.ts';
import {
  nodecertd,
  requireNewCa,
  startTrustCluster,
  syncNodes,
  timed,
} from './kubeadm-rollover.ts';
import type { Report, Scenario } from './scenario.ts';

/** A control-plane node is off for a whole rollover, and returns with the old CA alone. */
export const kubeadmAbsentControlPlane: Scenario = {
  name: 'kubeadm-absent-control-plane',
  isShort: false,
  async run(report) {
    await using cluster = await startTrustCluster(report, { controlPlanes: 3, workers: 0 });
    const absent = cluster.node('control-plane-3');
    await absent.container.stop();
    const gone = ['--for=condition=Ready=Unknown', '--timeout=120s', `node/${absent.name}`];
    await cluster.kubectl('wait', ...gone);
    const gates = ['--except', absent.name];
    const rollover = await AppliedRollover.plan(cluster, report, { gates });
    const { first } = rollover;
    await rollover.create();
    const refused = async (...step: readonly string[]): Promise<void> => {
      assert.match(await requireRefused(first, ...step), new RegExp(absent.name));
    };
    await rollover.trust();
    await rollover.union();
    await refused('switch');
    await rollover.switch();
    await rollover.onEach(restartServer);
    await rollover.reissue();
    await refused('finish', '--clients-ok', '--old-key', 'destroy');
    await rollover.finish();
    await bringBack(absent, { cluster, first, report });
    await rollover.requireGreen();
    await requireNewCa(cluster);
  },
};

/** kube-apiserver reads its client certificate for kubelets again, so G7 does not wait six minutes. */
const restartServer = `
crictl stop $(crictl ps --quiet --name kube-apiserver)
until kubectl get --raw /readyz; do sleep 1; done
`;

interface Return {
  readonly cluster: KubeadmCluster;
  readonly first: KubeadmNode;
  readonly report: Report;
}

async function bringBack(absent: KubeadmNode, { cluster, first, report }: Return): Promise<void> {
  await absent.container.start();
  const named = async (): Promise<string | undefined> => {
    const { code, stdout } = await nodecertd(first, ['ca-rollover', 'status']);
    return code === 4 ? stdout : undefined;
  };
  const table = await first.container.until('status 4', named, 180_000);
  assert.match(table, new RegExp(absent.name));
  report(`status 4: ${table}`);
  await timed(`the return of ${absent.name}`, report, async () => {
    for (const name of ['ca.crt', 'ca.key']) {
      const path = `/etc/kubernetes/pki/${name}`;
      const mode = name === 'ca.key' ? 0o600 : 0o644;
      await absent.container.write(path, await first.container.read(path), mode);
    }
    await absent.container.must('bash', '-ec', returnScript);
    await cluster.untilReady();
  });
  // kube-apiserver of the node has added its old CA, and never removes one.
  await cluster.kubectl('--namespace=kube-system', 'delete', 'configmap', clientAuthorities);
  await syncNodes(cluster);
}

/** The commands of docs/ca-rollover.md. */
const returnScript = `
kubeadm certs renew all
kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > /root/kubeadm-config.yaml
rm /etc/kubernetes/kubelet.conf /var/lib/kubelet/pki/kubelet-client-*
(umask 077; kubeadm kubeconfig user --config /root/kubeadm-config.yaml --org system:nodes --client-name "system:node:$(hostname)" > /etc/kubernetes/kubelet.conf)
systemctl restart kubelet
crictl stop $(crictl ps --quiet --name 'kube-controller-manager|kube-scheduler')
`;

const clientAuthorities = 'extension-apiserver-authentication';
